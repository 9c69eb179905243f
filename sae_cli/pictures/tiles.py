"""Montages: many small images in one, drawn pixel for pixel so that no tile is blurred."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.picture import DPI, Floats
from sae_cli.pictures.pixels import add_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 2  # pixels of border around each tile, whatever its zoom
BORDER = 0.5  # grey level of that border
WHITE = 255


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether one example is drawn as an image: ``(c, h, w)`` with one or three channels."""
    return len(shape) == 3 and shape[0] in (1, 3)


def images_of(tiles: Floats, image_shape: tuple[int, ...]) -> Floats:
    """Reshape rows ``(n, features)`` to images ``(n, c, h, w)``.

    Raises:
        ValueError: ``image_shape`` is not that of images, or there is no row, or rows of another
            size.
    """
    if not is_image(image_shape):
        raise ValueError(f"{image_shape} is not an image; needed: (1, h, w) or (3, h, w)")
    if tiles.ndim != 2 or not len(tiles) or tiles.shape[1] != math.prod(image_shape):
        raise ValueError(
            f"tiles have shape {tiles.shape}; needed: at least 1 row of "
            f"{math.prod(image_shape)} features for {image_shape}"
        )
    return tiles.reshape(-1, *image_shape)


def near_square(n: int, height: int, width: int) -> int:
    """The columns that make a montage of ``n`` tiles of this size about as wide as high."""
    return int(np.clip(np.ceil(np.sqrt(n * height / width) - 1e-9), 1, n))


def zoom_for(height: int, width: int, largest: int) -> int:
    """The whole number of picture pixels per image pixel that keeps a tile within ``largest``."""
    return max(1, largest // max(height, width))


def montage(rgb: Floats, columns: int, zoom: int) -> npt.NDArray[np.uint8]:
    """Lay out tiles ``(n, h, w, 3)``, magnified and framed, row by row: ``(height, width, 3)``.

    Cells without a tile stay white, so that nobody takes them for a tile.
    """
    n, height, width = rgb.shape[:3]
    cell_height, cell_width = height * zoom + GAP, width * zoom + GAP
    rows = -(-n // columns)
    canvas = np.full((rows * cell_height + GAP, columns * cell_width + GAP, 3), WHITE, np.uint8)
    levels = np.round(rgb.astype(np.float64) * WHITE).astype(np.uint8)
    tiles = levels.repeat(zoom, axis=1).repeat(zoom, axis=2)
    border = round(BORDER * WHITE)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * cell_height, (index % columns) * cell_width
        canvas[top : top + cell_height + GAP, left : left + cell_width + GAP] = border
        canvas[top + GAP : top + cell_height, left + GAP : left + cell_width] = tile
    return canvas


def place(
    figure: Figure, pixels: npt.NDArray[np.uint8], *, left: float, top: float, shrink: float = 1.0
) -> Axes:
    """Draw a montage with its corner ``left`` and ``top`` inches from the figure's upper left.

    At ``shrink`` 1 one montage pixel is one pixel of the PNG. The axes count in montage pixels,
    downwards. Ticks and frame are off, because empty ones take as long as the image.
    """
    height, width = pixels.shape[:2]
    figure_width, figure_height = figure.get_size_inches()
    box = _box(left, top, width * shrink / DPI, height * shrink / DPI, figure_width, figure_height)
    axes = figure.add_axes(box)
    add_pixels(axes, pixels)
    axes.set_axis_off()
    return axes


def write_beside(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    away: tuple[float, float],
    points: float,
    color: str = "black",
) -> None:
    """Write a text beside a place of a montage: to its left, above or below it.

    Args:
        at: the place, in pixels of the montage.
        away: of the text from it, in points to the right and upwards.
        points: the size of the text.
    """
    right, up = away
    axes.annotate(
        text,
        at,
        away,
        textcoords="offset points",
        ha="right" if right < 0 else "center",
        va="top" if up < 0 else "bottom" if up > 0 else "center",
        fontsize=points,
        color=color,
    )


def _box(
    left: float, top: float, width: float, height: float, figure_width: Any, figure_height: Any
) -> tuple[float, float, float, float]:
    """The position of axes in fractions of the figure, rounded to whole pixels."""
    left, bottom = (round(edge * DPI) / DPI for edge in (left, figure_height - top - height))
    return (
        left / figure_width,
        bottom / figure_height,
        width / figure_width,
        height / figure_height,
    )
