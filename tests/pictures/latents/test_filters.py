"""Montages of filters and atoms: the right ones, of unit norm, on one colour scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sae_cli.pictures import Picture
from sae_cli.pictures.latents.filters import draw, filters
from sae_cli.pictures.tiles import GAP
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(2)


def normal(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def tile_values(picture: Picture, index: int, columns: int, side: int) -> npt.NDArray[np.uint8]:
    """The middle colour of every pixel of one tile: (side, side, 3)."""
    pixels = np.asarray(picture.figure.axes[0].images[0].get_array())
    cell = (pixels.shape[1] - GAP) // columns
    zoom = (cell - GAP) // side
    top, left = (edge * cell + GAP + zoom // 2 for edge in divmod(index, columns))
    return pixels[top : top + side * zoom : zoom, left : left + side * zoom : zoom]


def title(picture: Picture) -> str:
    return picture.figure.get_suptitle()


def test_the_first_ones_are_drawn_and_counted() -> None:
    weights = normal(300, 64)
    picture = filters(weights, (1, 8, 8), name="first_layer_filters", title="first-layer filters")
    assert picture.name == "first_layer_filters"
    assert title(picture) == "first-layer filters (300)"
    assert set(picture.numbers) == {"weights", "indices"}
    np.testing.assert_array_equal(picture.numbers["weights"], weights)
    np.testing.assert_array_equal(picture.numbers["indices"], np.arange(300))
    few = filters(weights[:3], (1, 8, 8), name="f", title="atoms", total=len(weights))
    assert title(few) == "atoms (3 of 300)"
    assert title(filters(weights[:9], (1, 8, 8), name="f", title="atoms")) == "atoms (9)"


def test_rows_are_labelled_with_their_first_latent_as_far_as_there_is_room() -> None:
    square = filters(normal(10, 64), (1, 8, 8), name="f", title="t").figure.axes[0]
    assert [text.get_text() for text in square.texts] == ["0", "4", "8"]
    flat = filters(normal(7, 200), (1, 2, 100), name="f", title="t").figure.axes[0]
    assert [text.get_text() for text in flat.texts] == ["0", "3", "6"]


def test_tiles_do_not_depend_on_the_norms_of_the_rows() -> None:
    weights = normal(9, 64)
    scaled = weights * (2.0 ** np.arange(9))[:, None].astype(np.float32)
    one, other = (
        np.asarray(filters(w, (1, 8, 8), name="f", title="t").figure.axes[0].images[0].get_array())
        for w in (weights, scaled)
    )
    np.testing.assert_array_equal(one, other)


def test_zero_is_white_and_signs_have_their_colours() -> None:
    weights = np.zeros((4, 9), np.float32)
    weights[0] = 3.0
    weights[1] = -0.1
    picture = filters(weights, (1, 3, 3), name="f", title="t")
    positive, negative, zero = (tile_values(picture, i, 2, 3).astype(int) for i in range(3))
    assert (positive[..., 0] > positive[..., 2]).all()
    assert (negative[..., 2] > negative[..., 0]).all()
    assert (zero > 240).all()


def test_one_channel_pixels_lie_in_rows() -> None:
    weights = np.zeros((1, 9), np.float32)
    weights[0, 2] = 1.0  # first row, last column
    red = tile_values(filters(weights, (1, 3, 3), name="f", title="t"), 0, 1, 3)
    assert red[0, 2, 0] > red[0, 2, 2]
    assert (np.delete(red.reshape(9, 3), 2, axis=0) > 240).all()


def test_three_channels_are_centred_on_grey() -> None:
    weights = np.zeros((1, 3, 2, 2), np.float32)
    weights[0, 1, 0, 0] = 1.0  # green up
    weights[0, 1, 1, 1] = -1.0  # green down
    tile = tile_values(
        filters(weights.reshape(1, 12), (3, 2, 2), name="f", title="t"), 0, 1, 2
    ).astype(int)
    assert tile[0, 0].tolist() == [128, 255, 128]
    assert tile[1, 1].tolist() == [128, 0, 128]
    assert tile[0, 1].tolist() == [128, 128, 128]


def test_vectors_become_a_heat_map_of_the_weights_themselves() -> None:
    weights = normal(144, 7)
    picture = filters(weights, (7,), name="f", title="decoder atoms")
    image = picture.figure.axes[0].images[0]
    np.testing.assert_array_equal(np.asarray(image.get_array()), weights[:144])
    limit = float(np.abs(weights[:144]).max())
    np.testing.assert_allclose(np.array(image.get_clim()), [-limit, limit])
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["latent", "weight"]


def test_rows_that_do_not_fit_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 63\); needed: at least 1 row of 64 features"):
        filters(normal(4, 63), (1, 8, 8), name="f", title="t")
    with pytest.raises(ValueError, match="at least 1 row"):
        filters(normal(0, 64), (1, 8, 8), name="f", title="t")


def test_the_first_filters_and_the_atoms_are_drawn() -> None:
    view = make_view((1, 8, 8), 200)
    assert view.filters is not None
    first, atoms = draw(view)
    assert (first.name, title(first)) == ("filters", "First-layer filters (144 of 200)")
    np.testing.assert_array_equal(first.numbers["weights"], view.filters[:144])
    assert (atoms.name, title(atoms)) == ("atoms", "Decoder atoms (144 of 200)")
    np.testing.assert_array_equal(atoms.numbers["weights"], view.atoms(np.arange(144)))


def test_filters_have_a_shape_of_their_own_and_may_be_missing() -> None:
    kernels = random(20, 3, 4, 5)
    (picture,) = draw(make_view((3, 9, 9), 6, filters=kernels, decoder_trained=False))
    assert title(picture) == "First-layer filters (20)"
    np.testing.assert_array_equal(picture.numbers["weights"], kernels.reshape(20, 60))
    assert tile_values(picture, 0, 5, 4).shape == (4, 4, 3)
    assert pictures(draw, make_view((7,), 6, filters=None)) == ["atoms"]


EDGES: dict[str, Callable[[], Picture]] = {
    "400 filters": lambda: filters(random(400, 784) - 0.5, (1, 28, 28), name="f", title="filters"),
    "1 filter": lambda: filters(random(1, 64), (1, 8, 8), name="f", title="first-layer filters"),
    "2 filters": lambda: filters(random(2, 64), (1, 8, 8), name="f", title="filters"),
    "wide filters": lambda: filters(random(7, 200), (1, 2, 100), name="f", title="filters"),
    "zero filters": lambda: filters(np.zeros((5, 64)), (1, 8, 8), name="f", title="filters"),
    "equal filters": lambda: filters(np.ones((5, 64)), (1, 8, 8), name="f", title="filters"),
    "NaN filters": lambda: filters(np.full((5, 64), np.nan), (1, 8, 8), name="f", title="filters"),
    "infinite filter": lambda: filters(
        np.full((2, 64), np.inf, np.float32), (1, 8, 8), name="f", title="filters"
    ),
    "colour filters": lambda: filters(random(9, 75) - 0.5, (3, 5, 5), name="f", title="filters"),
    "vector filters": lambda: filters(random(400, 512), (512,), name="f", title="atoms"),
    "1 vector filter": lambda: filters(random(1, 3), (3,), name="f", title="atoms"),
    "long title": lambda: filters(random(1, 64), (1, 8, 8), name="f", title="a title " * 8),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
