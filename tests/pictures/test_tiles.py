"""Montages: every pixel of every tile where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps

from sae_cli.pictures.picture import DPI, Picture, new_figure, render
from sae_cli.pictures.tiles import BORDER, GAP, colours, montage, near_square, place, zoom_for


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


def test_colours_clip_and_mark_what_is_not_a_number() -> None:
    image = np.array([-9.0, -1.0, 0.0, 1.0, 9.0, np.inf, np.nan], np.float32).reshape(1, 1, 1, 7)
    rgb = colours(image, -1.0, 1.0, colormaps["RdBu_r"])[0, 0]
    np.testing.assert_array_equal(rgb[0], rgb[1])
    np.testing.assert_array_equal(rgb[3], rgb[4])
    np.testing.assert_array_equal(rgb[3], rgb[5])
    assert rgb[0, 2] > rgb[0, 0] and rgb[3, 0] > rgb[3, 2]  # below zero blue, above zero red
    assert (rgb[2] > 0.95).all()
    assert rgb[6, 2] < 0.3 < 0.7 < rgb[6, 1]
    colour = np.repeat(image, 3, axis=1)
    np.testing.assert_allclose(colours(colour, -1.0, 1.0, colormaps["gray"])[0, 0, 2], 0.5)


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
