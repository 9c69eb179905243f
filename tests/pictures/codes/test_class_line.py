"""The way from one class to another, decoded."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.codes.class_line import (
    class_line,
    draw,
    farthest_classes,
    nearest_labels,
)
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

# Five classes on a line, whose outer two are 7 and 2.
MIDDLES = {7: 0.0, 1: 1.0, 4: 2.0, 0: 3.0, 2: 4.0}


def clusters() -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.array(list(MIDDLES)), 20)
    middles = np.array([(MIDDLES[int(label)], 0.5) for label in labels], np.float32)
    return middles + 0.1 * random(100, 2), labels


def test_the_outer_classes_lie_farthest_apart() -> None:
    assert farthest_classes(*clusters()) == (2, 7)


def test_the_way_goes_past_the_classes_between() -> None:
    codes, labels = clusters()
    (picture,) = draw(make_view((1, 8, 8), 2, codes=codes, labels=labels))
    line, nearest = picture.numbers["line"], picture.numbers["nearest"]
    for end, label in ((0, 2), (-1, 7)):
        np.testing.assert_allclose(line[end], np.median(codes[labels == label], 0), atol=1e-6)
    np.testing.assert_allclose(np.diff(line, 2, axis=0), 0.0, atol=1e-5)
    assert list(dict.fromkeys(nearest.tolist())) == [2, 0, 4, 1, 7]
    check_looks(picture)


def test_the_title_names_the_classes_at_the_ends() -> None:
    """Even where the middle of a ring is nearer to another class."""
    turns = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    ring = 3.0 * np.stack([np.cos(turns), np.sin(turns)], 1)
    inner, far = 0.1 * random(20, 2), [9.0, 0.0] + 0.1 * random(20, 2)
    codes = np.concatenate([far, ring, inner]).astype(np.float32)
    labels = np.repeat([0, 1, 2], [20, 40, 20])
    codes[labels == 2] += [0.3, 0.0]
    (picture,) = draw(make_view((1, 8, 8), 2, codes=codes, labels=labels))
    assert picture.numbers["nearest"][-1] == 2
    assert picture.figure.get_suptitle() == "From 0 to 1, whose codes lie farthest apart"


def test_the_nearest_code_gives_the_label() -> None:
    codes, labels = clusters()
    points = random(9, 2, seed=4) * 4
    for point, label in zip(points, nearest_labels(codes, labels, points), strict=True):
        assert label == labels[min(range(100), key=lambda i: np.linalg.norm(codes[i] - point))]


def test_it_is_drawn_of_two_latents_of_images_with_classes() -> None:
    codes, labels = clusters()
    assert not pictures(draw, make_view((7,), 2, codes=codes, labels=labels))
    assert not pictures(draw, make_view((1, 8, 8), 5))
    assert not pictures(draw, make_view((1, 8, 8), 2, codes=codes, labels=None))
    assert not pictures(draw, make_view((1, 8, 8), 2, codes=codes, labels=labels * 0))
    view = make_view((1, 8, 8), 2, codes=codes, labels=labels, decoder_trained=False)
    assert not pictures(draw, view)


def test_shapes_that_do_not_fit_are_refused() -> None:
    codes, labels = clusters()
    with pytest.raises(ValueError, match=r"needed: \(n, 2\)"):
        class_line(codes, labels, random(3, 2), random(4, 16), (1, 4, 4), ends=(7, 2))
