"""Montages: every pixel of every tile where it belongs."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.picture import DPI, Picture, new_figure, render
from sae_cli.pictures.tiles import BORDER, GAP, montage, near_square, place, zoom_for


def test_montage_magnifies_frames_and_leaves_empty_cells_white() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.random((5, 3, 4, 3))
    zoom, columns = 2, 3
    pixels = montage(rgb, columns, zoom)
    cell = np.array([3, 4]) * zoom + GAP
    assert pixels.shape == (2 * cell[0] + GAP, 3 * cell[1] + GAP, 3)
    for index in range(5):
        top, left = np.array(divmod(index, columns)) * cell + GAP
        tile = pixels[top : top + 3 * zoom, left : left + 4 * zoom]
        for dy in range(zoom):
            for dx in range(zoom):
                np.testing.assert_array_equal(tile[dy::zoom, dx::zoom], np.round(rgb[index] * 255))
        border = round(BORDER * 255)
        assert (pixels[top - GAP : top, left : left + 4 * zoom] == border).all()
        assert (pixels[top : top + 3 * zoom, left - GAP : left] == border).all()
    assert (pixels[cell[0] + GAP :, 2 * cell[1] + GAP :] == 255).all()


def test_a_placed_montage_is_drawn_pixel_for_pixel() -> None:
    from io import BytesIO

    from matplotlib.image import imread

    pixels = montage(np.random.default_rng(0).random((6, 5, 5, 3)), 3, 7)
    figure = new_figure(2.0, 1.5, constrained=False)
    place(figure, pixels, left=0.5, top=0.25)
    drawn = np.round(imread(BytesIO(render(Picture("p", figure, {}))))[..., :3] * 255)
    height, width = pixels.shape[:2]
    edges = [
        (top, left)
        for top in range(int(0.25 * DPI) - 2, int(0.25 * DPI) + 3)
        for left in range(int(0.5 * DPI) - 2, int(0.5 * DPI) + 3)
        if (drawn[top : top + height, left : left + width] == pixels).all()
    ]
    assert len(edges) == 1


@pytest.mark.parametrize("shrink", [1.0, 0.5, 0.37, 1.3])
def test_a_placed_montage_is_drawn_as_matplotlib_draws_an_image(shrink: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (61, 45, 3), np.uint8)
    drawn = []
    for plain in (False, True):
        figure = new_figure(2.0, 1.5, constrained=False)
        axes = place(figure, pixels, left=0.3, top=0.25, shrink=shrink)
        if plain:
            axes.images[0].remove()
            axes.imshow(pixels, extent=(0, 45, 61, 0), aspect="auto")
        drawn.append(render(Picture("p", figure, {})))
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 144, 400])
def test_grids_are_near_square(n: int) -> None:
    columns = near_square(n, 28, 28)
    rows = -(-n // columns)
    assert columns * rows >= n
    assert 0 <= columns - rows <= 1
    assert near_square(n, 2, 200) == 1 or n > 100


def test_zoom_is_whole_and_at_least_one() -> None:
    assert zoom_for(28, 28, 56) == 2
    assert zoom_for(28, 28, 83) == 2
    assert zoom_for(224, 100, 56) == 1
