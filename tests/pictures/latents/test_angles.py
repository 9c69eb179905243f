"""The histogram of angles between encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from sae_cli.pictures import Picture
from sae_cli.pictures.latents.angles import angle_histogram, draw
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

ANGLES = np.array([0.1, 0.2, 0.49, 0.5, 0.6, 0.7, 0.71, 1.2])


def legend(picture: Picture) -> list[str]:
    found = picture.figure.axes[0].get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_parts_and_categories_are_counted_and_stated() -> None:
    picture = angle_histogram(ANGLES)
    assert picture.name == "angle_histogram"
    assert (int(picture.numbers["parts"]), int(picture.numbers["categories"])) == (3, 2)
    assert legend(picture) == ["parts, below 0.5: 3", "categorical, above 0.7: 2"]
    wider = angle_histogram(ANGLES, parts_below=0.65, categories_above=1.0)
    assert legend(wider) == ["parts, below 0.65: 5", "categorical, above 1: 1"]


def test_bars_are_as_numpy_counts() -> None:
    angles = np.random.default_rng(0).gamma(4, 0.08, 400)
    picture = angle_histogram(angles)
    numbers = picture.numbers
    expected, _ = np.histogram(angles, numbers["edges"])
    np.testing.assert_array_equal(numbers["counts"], expected)
    assert numbers["counts"].sum() == 400
    (bars,) = [p for p in picture.figure.axes[0].patches if isinstance(p, StepPatch)]
    np.testing.assert_array_equal(bars.get_data()[0], expected)
    np.testing.assert_array_equal(numbers["angles"], angles)


def test_the_axis_ends_at_a_right_angle_or_at_two() -> None:
    assert angle_histogram(ANGLES).figure.axes[0].get_xlim() == (0, np.pi / 2)
    opposed = angle_histogram(np.array([0.1, np.pi]))
    assert opposed.figure.axes[0].get_xlim() == (0, np.pi)
    assert opposed.numbers["counts"].sum() == 2


def test_angles_that_are_not_finite_are_left_out_and_mentioned() -> None:
    picture = angle_histogram(np.array([0.1, np.nan, 0.9]))
    assert picture.figure.get_suptitle().endswith("(3 latents, 1 not finite)")
    assert (int(picture.numbers["parts"]), int(picture.numbers["categories"])) == (1, 1)


def test_dead_latents_are_not_parts() -> None:
    dead = np.array([True, True, False, False, False, False, False, True])
    picture = angle_histogram(ANGLES, dead=dead)
    assert picture.figure.get_suptitle().endswith("(8 latents, 3 dead)")
    assert legend(picture) == ["parts, below 0.5: 1", "categorical, above 0.7: 1"]
    np.testing.assert_array_equal(np.isnan(picture.numbers["angles"]), dead)
    assert angle_histogram(ANGLES, dead=dead & False).figure.get_suptitle().endswith("(8 latents)")
    with pytest.raises(ValueError, match="dead has shape"):
        angle_histogram(ANGLES, dead=dead[1:])


def test_an_empty_array_of_angles_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        angle_histogram(np.zeros(0))


def test_drawn_where_a_head_was_trained() -> None:
    view = make_view((7,), 5, has_head=True)
    view.codes[:, 1] = 0.0
    (picture,) = draw(view)
    assert view.filters is not None and view.dictionary is not None
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(view.filters, view.dictionary, strict=True)
    ]
    expected = np.arccos(cosines)
    expected[1] = np.nan
    np.testing.assert_allclose(picture.numbers["angles"], expected, rtol=1e-5)
    assert pictures(draw, make_view((7,), 5)) == []
    convolution = make_view((1, 8, 8), 5, has_head=True, filters=random(5, 1, 3, 3))
    assert pictures(draw, convolution) == []
    assert pictures(draw, make_view((7,), 5, has_head=True, filters=None)) == []
    assert pictures(draw, make_view((7,), 5, has_head=True, dictionary=None)) == []


EDGES: dict[str, Callable[[], Picture]] = {
    "angles": lambda: angle_histogram(random(400)),
    "obtuse angles": lambda: angle_histogram(np.array([0.1, 3.0, np.nan])),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
