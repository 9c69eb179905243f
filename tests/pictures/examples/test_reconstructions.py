"""Reconstruction strips: the right tiles in the right place, with the right error below."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.text import Annotation

from sae_cli.pictures import Examples, Picture, render
from sae_cli.pictures.examples.reconstructions import draw, reconstructions
from sae_cli.pictures.tiles import GAP
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures

RNG = np.random.default_rng(1)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.random(shape, dtype=np.float32)


def texts(picture: Picture) -> list[str]:
    return [text.get_text() for axes in picture.figure.axes for text in axes.texts]


def errors_below(picture: Picture) -> list[float]:
    return [float(text) for text in texts(picture) if text[0].isdigit()]


@pytest.mark.parametrize(("n", "digits"), [(10, 3), (20, 2), (45, 2)])
def test_the_error_below_each_column_is_its_mse(n: int, digits: int) -> None:
    # The values are far from zero, where a difference in float32 would lose digits.
    x, x_hat = 3 + random(n, 1, 8, 8) ** 3, random(n, 1, 8, 8) ** 3
    picture = reconstructions(x, x_hat)
    expected = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(x[i].flat, x_hat[i].flat, strict=True)) / 64
        for i in range(n)
    ]
    np.testing.assert_allclose(picture.numbers["mse"], expected, rtol=1e-12)
    np.testing.assert_allclose(errors_below(picture), expected, rtol=0.5 * 10.0 ** (1 - digits))
    assert picture.numbers["mse"].dtype == np.float64


def test_numbers_are_what_was_given() -> None:
    x, corrupted, x_hat = random(4, 3, 5, 6), random(4, 3, 5, 6), random(4, 3, 5, 6)
    numbers = reconstructions(x, x_hat, corrupted=corrupted).numbers
    assert set(numbers) == {"x", "corrupted", "x_hat", "mse"}
    np.testing.assert_array_equal(numbers["x"], x)
    np.testing.assert_array_equal(numbers["corrupted"], corrupted)
    np.testing.assert_array_equal(numbers["x_hat"], x_hat)
    assert set(reconstructions(x, x_hat).numbers) == {"x", "x_hat", "mse"}


def test_rows_are_named_from_top_to_bottom() -> None:
    x = random(2, 1, 4, 4)
    picture = reconstructions(x, x, corrupted=x)
    rows = [t for t in texts(picture) if t[0].isalpha() and t != "MSE"]
    assert rows == ["input", "corrupted input", "reconstruction"]


def test_tiles_show_rows_on_the_grey_scale_of_the_inputs() -> None:
    x = np.zeros((2, 1, 4, 4), np.float32)
    x[1] = 4.0
    x_hat = np.full_like(x, 2.0)
    x_hat[1] = 9.0  # beyond the inputs: as white as their largest
    pixels = np.asarray(reconstructions(x, x_hat).figure.axes[0].images[0].get_array())
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    middles = [
        [int(pixels[height // 2 + height * r, width // 2 + width * c, 0]) for c in (0, 1)]
        for r in (0, 1)
    ]
    assert middles[0] == [0, 255]
    assert middles[1] == [pytest.approx(128, abs=2), 255]


def test_colour_tiles_are_height_width_channel() -> None:
    x = np.zeros((1, 3, 2, 2), np.float32)
    x[0, 0, 0, 1] = 1.0  # red, upper right
    x[0, 2, 1, 0] = 0.5  # half blue, lower left
    pixels = np.asarray(reconstructions(x, x).figure.axes[0].images[0].get_array())
    zoom = (pixels.shape[1] - 2 * GAP) // 2
    tile = pixels[GAP : GAP + 2 * zoom, GAP : GAP + 2 * zoom][zoom // 2 :: zoom, zoom // 2 :: zoom]
    assert tile[0, 1].tolist() == [255, 0, 0]
    assert tile[1, 0].tolist() == [0, 0, 128]
    assert tile[0, 0].tolist() == [0, 0, 0]


def test_errors_of_neighbours_do_not_touch() -> None:
    x = np.zeros((20, 1, 28, 28), np.float32)
    x[0] = 1.0
    picture = reconstructions(x, x + np.float32(0.0951))
    render(picture)
    errors = [t for t in picture.figure.axes[0].texts if t.get_text()[0].isdigit()]
    boxes = [error.get_window_extent() for error in errors if isinstance(error, Annotation)]
    assert len(boxes) == 20
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_vectors_become_line_plots_of_the_first_eight() -> None:
    x, x_hat = random(11, 512), random(11, 512)
    picture = reconstructions(x, x_hat)
    assert len(picture.figure.axes) == 8
    expected = np.square(x.astype(np.float64) - x_hat).mean(1)[:8]
    np.testing.assert_allclose(picture.numbers["mse"], expected)
    np.testing.assert_array_equal(picture.numbers["x_hat"], x_hat[:8])
    for index, axes in enumerate(picture.figure.axes):
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        np.testing.assert_array_equal(drawn["input"], x[index])
        np.testing.assert_array_equal(drawn["reconstruction"], x_hat[index])
        assert axes.get_title(loc="left") == f"MSE {expected[index]:.3g}"


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x_hat has shape \(2, 16\); needed: \(2, 1, 4, 4\)"):
        reconstructions(random(2, 1, 4, 4), random(2, 16))
    with pytest.raises(ValueError, match="at least 1 example"):
        reconstructions(random(0, 1, 4, 4), random(0, 1, 4, 4))


def test_drawn_where_the_decoder_was_trained() -> None:
    view = make_view((1, 4, 4), 5, examples=Examples(*(random(3, 1, 4, 4) for _ in range(3))))
    (picture,) = draw(view)
    for name, values in view.examples._asdict().items():
        np.testing.assert_array_equal(picture.numbers[name], values)
    assert pictures(draw, make_view((7,), 5, decoder_trained=False)) == []


EDGES: dict[str, Callable[[], Picture]] = {
    "grey": lambda: reconstructions(random(10, 1, 28, 28), random(10, 1, 28, 28)),
    "corrupted": lambda: reconstructions(
        random(20, 1, 8, 8), random(20, 1, 8, 8) / 1e3, corrupted=random(20, 1, 8, 8)
    ),
    "one example": lambda: reconstructions(random(1, 1, 8, 8), random(1, 1, 8, 8)),
    "three bands": lambda: reconstructions(random(45, 1, 8, 8), random(45, 1, 8, 8)),
    "colour": lambda: reconstructions(random(6, 3, 32, 32), 2 * random(6, 3, 32, 32)),
    "large images": lambda: reconstructions(random(3, 3, 300, 200), random(3, 3, 300, 200)),
    "diverged": lambda: reconstructions(np.zeros((5, 1, 8, 8)), np.full((5, 1, 8, 8), np.nan)),
    "vectors": lambda: reconstructions(random(9, 512), random(9, 512)),
    "one vector": lambda: reconstructions(random(1, 5), random(1, 5), corrupted=random(1, 5)),
    "vectors of NaN": lambda: reconstructions(random(3, 5), np.full((3, 5), np.nan)),
    "five sequences": lambda: reconstructions(random(5, 6, 7), random(5, 6, 7)),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
