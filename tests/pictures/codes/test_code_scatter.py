"""Scatters of two-dimensional codes: each point where it belongs, in its label's colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from sae_cli.pictures import Picture
from sae_cli.pictures.codes.code_scatter import CLASSES, code_scatter, draw
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(5)
CODES = RNG.normal(size=(200, 2)).astype(np.float32) * (3, 1)
LABELS = RNG.integers(0, 10, 200)


def points(picture: Picture) -> list[PathCollection]:
    return [c for c in picture.figure.axes[0].collections if isinstance(c, PathCollection)]


def legend(picture: Picture) -> list[str]:
    found = picture.figure.axes[0].get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def test_points_stand_at_their_codes_in_their_classes_colours() -> None:
    picture = code_scatter(CODES, LABELS)
    assert picture.name == "code_scatter"
    (drawn,) = points(picture)
    np.testing.assert_array_equal(np.asarray(drawn.get_offsets()), CODES)
    colours = [to_hex(colour) for colour in np.asarray(drawn.get_facecolor())]
    assert colours == [CLASSES[label] for label in LABELS]
    assert len(set(CLASSES)) == 10
    assert legend(picture) == [str(label) for label in range(10)]
    np.testing.assert_array_equal(picture.numbers["codes"], CODES)
    np.testing.assert_array_equal(picture.numbers["labels"], LABELS)


def test_classes_are_named_at_their_medians() -> None:
    picture = code_scatter(CODES, LABELS)
    named = {text.get_text(): text.get_position() for text in picture.figure.axes[0].texts}
    assert len(named) == 10
    for label in range(10):
        middle = np.sort(CODES[label == LABELS], axis=0)
        half = len(middle) // 2
        median = middle[half] if len(middle) % 2 else (middle[half - 1] + middle[half]) / 2
        assert named[str(label)] == pytest.approx(tuple(median))


def test_words_do_not_cover_each_other() -> None:
    # All medians are near 0.
    picture = code_scatter(CODES, LABELS, [f"trousers {label}" for label in range(10)])
    axes = picture.figure.axes[0]
    inches = float(np.ptp(axes.get_ylim())) / 5.2
    found = [np.array(text.get_position()) / inches for text in axes.texts]
    assert len(found) == 10
    for index, one in enumerate(found):
        for other in found[:index]:
            across, down = np.abs(one - other)
            assert across > 0.75 or down > 0.11


def test_without_labels_all_points_are_alike() -> None:
    picture = code_scatter(CODES)
    (drawn,) = points(picture)
    assert len(np.asarray(drawn.get_facecolor())) == 1
    assert set(picture.numbers) == {"codes"}
    assert not legend(picture) and not picture.figure.axes[0].texts


def test_a_unit_is_as_long_on_both_axes() -> None:
    picture = code_scatter(CODES)
    picture.figure.draw_without_rendering()
    axes = picture.figure.axes[0]
    (x0, y0), (x1, y1) = axes.transData.transform([(0.0, 0.0), (1.0, 1.0)])
    assert x1 - x0 == pytest.approx(y1 - y0)
    low, high = (np.array([axes.get_xlim()[i], axes.get_ylim()[i]]) for i in (0, 1))
    assert np.less(low, CODES).all() and np.less(CODES, high).all()


def test_further_classes_have_other_markers_and_many_no_names() -> None:
    labels = np.arange(200) % 12
    picture = code_scatter(CODES, labels)
    circles, triangles = points(picture)
    np.testing.assert_array_equal(np.asarray(circles.get_offsets()), CODES[labels < 10])
    np.testing.assert_array_equal(np.asarray(triangles.get_offsets()), CODES[labels >= 10])
    assert len(circles.get_paths()[0]) != len(triangles.get_paths()[0])
    assert len(legend(picture)) == 12 and not picture.figure.axes[0].texts
    assert not legend(code_scatter(CODES, np.arange(200)))


def test_codes_that_are_not_finite_are_left_out_and_mentioned() -> None:
    codes = CODES.copy()
    codes[3, 0], codes[7, 1] = np.nan, np.inf
    picture = code_scatter(codes, LABELS)
    (drawn,) = points(picture)
    assert len(np.asarray(drawn.get_offsets())) == 198
    assert picture.figure.get_suptitle() == "Codes of 200 examples, 2 not finite"
    np.testing.assert_array_equal(picture.numbers["codes"], codes)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needed: \(n, 2\)"):
        code_scatter(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="at least 1 code"):
        code_scatter(np.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"labels have shape \(3,\); needed: \(200,\)"):
        code_scatter(CODES, LABELS[:3])


def test_drawn_of_two_latents() -> None:
    assert pictures(draw, make_view((7,), 2)) == ["code_scatter"]
    assert pictures(draw, make_view((7,), 3)) == []
    assert pictures(draw, make_view((7,), 2, decoder_trained=False)) == []


EDGES: dict[str, Callable[[], Picture]] = {
    "scatter": lambda: code_scatter(random(5000, 2), np.arange(5000) % 10),
    "flat scatter": lambda: code_scatter(random(30, 2) * np.array([1e6, 1e-6], np.float32)),
    "1 code": lambda: code_scatter(np.zeros((1, 2), np.float32), np.zeros(1, int)),
    "many classes": lambda: code_scatter(random(300, 2), np.arange(300) % 49),
    "too many classes": lambda: code_scatter(random(300, 2), np.arange(300) % 51),
    "NaN codes": lambda: code_scatter(np.full((4, 2), np.nan, np.float32), np.arange(4)),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
