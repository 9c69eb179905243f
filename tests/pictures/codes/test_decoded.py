"""Decoded codes: every tile in its place, beside its code."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Annotation

from sae_cli.pictures import Picture, render
from sae_cli.pictures.codes.decoded import draw
from sae_cli.pictures.codes.decoded_grid import decoded_grid
from sae_cli.pictures.codes.decoded_points import decoded_points
from sae_cli.pictures.codes.samples import samples
from sae_cli.pictures.tiles import GAP
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(6)
SHAPE = (1, 4, 4)


def shades(n: int) -> npt.NDArray[np.float32]:
    """Tiles ``(n, 16)`` of one brightness each, from black to white."""
    return np.repeat(np.linspace(0, 1, n, dtype=np.float32)[:, None], 16, axis=1)


def middles(pixels: npt.NDArray[Any], rows: int, columns: int) -> list[list[float]]:
    """The brightness, 0 to 1, in the middle of each tile."""
    height, width = (pixels.shape[0] - GAP) / rows, (pixels.shape[1] - GAP) / columns
    return [
        [
            float(pixels[int(height * (r + 0.5)) + GAP, int(width * (c + 0.5)) + GAP, 0]) / 255
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def images(picture: Picture) -> list[npt.NDArray[Any]]:
    return [np.asarray(axes.images[0].get_array()) for axes in picture.figure.axes if axes.images]


def test_points_and_tiles_have_the_same_numbers() -> None:
    points, codes = RNG.normal(size=(30, 2)), RNG.normal(size=(400, 2))
    picture = decoded_points(points, shades(30), SHAPE, codes=codes, labels=np.arange(400) % 10)
    assert picture.name == "decoded_points"
    scatter, *rows = picture.figure.axes
    labels = [text for text in scatter.texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in labels] == [str(i) for i in range(30)]
    np.testing.assert_array_equal([text.xy for text in labels], points)
    *_, black = [c for c in scatter.collections if isinstance(c, PathCollection)]
    np.testing.assert_array_equal(np.asarray(black.get_offsets()), points)
    np.testing.assert_array_equal(np.asarray(black.get_facecolor())[0], [0, 0, 0, 1])
    assert [text.get_text() for row in rows for text in row.texts] == [str(i) for i in range(30)]
    columns = len(rows[0].texts)
    drawn = [shade for pixels in images(picture) for shade in middles(pixels, 1, columns)[0]]
    np.testing.assert_allclose(drawn[:30], np.linspace(0, 1, 30), atol=0.005)
    tops = [row.get_position().y1 for row in rows]
    assert tops == sorted(tops, reverse=True)
    assert set(picture.numbers) == {"points", "tiles", "codes", "labels"}
    np.testing.assert_array_equal(picture.numbers["points"], points)
    np.testing.assert_array_equal(picture.numbers["tiles"], shades(30))


def test_numbers_of_points_stand_apart() -> None:
    points = np.stack([np.linspace(0, 1, 30), np.sin(np.arange(30)) / 2], axis=1)
    points[20:23] = points[5] + [[0.01, 0], [0, 0.01], [0.01, 0.01]]  # a crowd
    picture = decoded_points(points, shades(30), SHAPE, codes=points)
    render(picture)
    boxes = [text.get_window_extent() for text in picture.figure.axes[0].texts]
    touching = [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert not touching


def test_a_grid_has_its_values_beside_its_tiles() -> None:
    xs, ys = np.array([-2.0, -0.5, 0.5, 2.0]), np.array([1.5, 0.0, -1.5])
    picture = decoded_grid(shades(12), SHAPE, xs=xs, ys=ys)
    assert picture.name == "decoded_grid"
    (pixels,) = images(picture)
    expected = np.linspace(0, 1, 12).reshape(3, 4)
    np.testing.assert_allclose(middles(pixels, 3, 4), expected, atol=0.005)
    (axes,) = picture.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["-2", "-0.5", "0.5", "2"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1.5", "0", "-1.5"]
    cell = (pixels.shape[1] - GAP) / 4
    np.testing.assert_allclose(axes.get_xticks(), GAP / 2 + cell * (np.arange(4) + 0.5))
    assert set(picture.numbers) == {"tiles", "xs", "ys"}


def test_values_along_a_large_grid_do_not_touch() -> None:
    values = np.linspace(-1.2345, 1.2345, 40)
    picture = decoded_grid(shades(1600), SHAPE, xs=values, ys=values)
    render(picture)
    (axes,) = picture.figure.axes
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) > 5
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_samples_stand_row_by_row() -> None:
    picture = samples(shades(9), SHAPE, title="9 draws")
    assert picture.name == "samples" and picture.figure.get_suptitle() == "9 draws"
    (pixels,) = images(picture)
    expected = np.linspace(0, 1, 9).reshape(3, 3)
    np.testing.assert_allclose(middles(pixels, 3, 3), expected, atol=0.005)
    np.testing.assert_array_equal(picture.numbers["tiles"], shades(9))


def test_values_beyond_0_to_1_are_drawn_over_their_range_which_is_stated() -> None:
    picture = samples(shades(9) * 8 - 3, SHAPE, title="9 draws")
    (pixels,) = images(picture)
    assert middles(pixels, 3, 3)[0][0] == 0 and middles(pixels, 3, 3)[2][2] == 1
    assert "black is -3 and white is 5" in [text.get_text() for text in picture.figure.texts]
    inside = samples(shades(9) / 2, SHAPE, title="9 draws")
    assert middles(images(inside)[0], 3, 3)[2][2] == pytest.approx(0.5, abs=0.005)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(16,\) is not an image"):
        samples(shades(2), (16,), title="")
    with pytest.raises(ValueError, match="at least 1 row of 25 features"):
        samples(shades(2), (1, 5, 5), title="")
    with pytest.raises(ValueError, match="a tile for each pair"):
        decoded_grid(shades(5), SHAPE, xs=np.zeros(2), ys=np.zeros(3))
    with pytest.raises(ValueError, match=r"points have shape \(2, 2\); needed: \(3, 2\)"):
        decoded_points(np.zeros((2, 2)), shades(3), SHAPE, codes=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="finite"):
        decoded_points(np.full((3, 2), np.nan), shades(3), SHAPE, codes=np.zeros((4, 2)))


def test_drawn_where_images_have_two_latents_or_a_prior() -> None:
    plane = ["decoded_points", "decoded_grid"]
    assert pictures(draw, make_view(SHAPE, 2)) == plane
    assert pictures(draw, make_view(SHAPE, 2, has_prior=True)) == [*plane, "samples"]
    assert pictures(draw, make_view(SHAPE, 9, has_prior=True)) == ["samples"]
    assert pictures(draw, make_view(SHAPE, 9)) == []
    assert pictures(draw, make_view((16,), 2, has_prior=True)) == []
    assert pictures(draw, make_view(SHAPE, 2, has_prior=True, decoder_trained=False)) == []


@pytest.mark.parametrize("has_prior", [False, True])
def test_tiles_are_the_decoded_codes_beside_them(has_prior: bool) -> None:
    view = make_view(SHAPE, 2, has_prior=has_prior)
    points, grid = (picture.numbers for picture, _ in zip(draw(view), range(2), strict=False))
    np.testing.assert_array_equal(points["tiles"], view.decode(points["points"]))
    crossed = np.array([[x, y] for y in grid["ys"] for x in grid["xs"]])
    np.testing.assert_array_equal(grid["tiles"], view.decode(crossed))


def test_without_a_prior_the_plane_is_the_box_of_the_codes() -> None:
    view = make_view(SHAPE, 2)
    points, grid = (picture.numbers for picture in draw(view))
    low, high = view.codes.min(0), view.codes.max(0)
    np.testing.assert_allclose(grid["xs"], np.linspace(low[0], high[0], 15), rtol=1e-5)
    np.testing.assert_allclose(grid["ys"], np.linspace(high[1], low[1], 15), rtol=1e-5)
    assert (points["points"] >= low).all() and (points["points"] <= high).all()


def test_with_a_prior_codes_are_drawn_from_it() -> None:
    _, grid, drawn = (picture.numbers for picture in draw(make_view(SHAPE, 2, has_prior=True)))
    quantiles = [NormalDist().inv_cdf(share) for share in np.linspace(0.01, 0.99, 15)]
    np.testing.assert_allclose(grid["xs"], quantiles, atol=1e-5)
    np.testing.assert_allclose(grid["ys"], quantiles[::-1], atol=1e-5)
    assert drawn["tiles"].shape == (64, 16)


def test_a_picture_has_numbers_of_its_own() -> None:
    codes, values = random(4, 2), random(2)
    tiles, labels = shades(4), np.arange(4)
    given = [codes, values, tiles, labels]
    for picture in (
        decoded_points(codes, tiles, SHAPE, codes=codes, labels=labels),
        decoded_grid(tiles, SHAPE, xs=values, ys=values),
        samples(tiles, SHAPE, title="4 draws"),
    ):
        for number in picture.numbers.values():
            assert not any(np.shares_memory(number, array) for array in given)


EDGES: dict[str, Callable[[], Picture]] = {
    "points": lambda: decoded_points(
        *(random(30, 2), random(30, 784), (1, 28, 28)), codes=random(500, 2), labels=np.arange(500)
    ),
    "1 point": lambda: decoded_points(
        random(1, 2), random(1, 64), (1, 8, 8), codes=random(50, 2) * 1e6
    ),
    "100 points": lambda: decoded_points(
        random(100, 2), random(100, 3072), (3, 32, 32), codes=random(9, 2)
    ),
    "wide points": lambda: decoded_points(
        random(7, 2), random(7, 200), (1, 2, 100), codes=random(9, 2)
    ),
    "grid": lambda: decoded_grid(
        random(400, 784), (1, 28, 28), xs=np.linspace(-1, 1, 20), ys=np.linspace(1, -1, 20)
    ),
    "wide grid": lambda: decoded_grid(
        random(30, 64), (1, 8, 8), xs=random(10) * 1e-5 - 1, ys=random(3) * -1e-5
    ),
    "samples": lambda: samples(random(64, 784), (1, 28, 28), title="64 draws"),
    "1 sample": lambda: samples(random(1, 30000), (3, 100, 100), title="a title " * 8),
    "NaN samples": lambda: samples(np.full((5, 64), np.nan), (1, 8, 8), title="5 draws"),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
