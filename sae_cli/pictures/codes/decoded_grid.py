"""A grid over the plane of two latents, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae_cli.pictures.colours import grey_scale
from sae_cli.pictures.picture import (
    DPI,
    GREY,
    Floats,
    Picture,
    heading,
    heading_width,
    new_figure,
    text_width,
)
from sae_cli.pictures.tiles import GAP, montage, place, zoom_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID_PIXELS = 1100  # longest side of the grid
TILE_PIXELS = (24, 112)  # narrowest and widest tile
TITLE, LEFT, BELOW, RIGHT = 0.58, 0.78, 0.5, 0.3  # inches around the grid
POINTS = 7.0  # of the values along the axes


def decoded_grid(tiles: Floats, image_shape: tuple[int, ...], *, xs: Floats, ys: Floats) -> Picture:
    """Draw ``tiles`` ``(rows * columns, features)``, row by row from the top.

    Args:
        tiles: the decoded codes ``(xs[column], ys[row])``.
        image_shape: ``(1, h, w)`` or ``(3, h, w)``.
        xs: the first latent of each column ``(columns,)``.
        ys: the second latent of each row ``(rows,)``; in falling order the second latent grows
            upwards, as in a scatter of the codes.

    Numbers: ``tiles``, ``xs`` and ``ys``.

    Raises:
        ValueError: ``image_shape`` is not that of images, or the tiles do not fill the grid.
    """
    if xs.ndim != 1 or ys.ndim != 1 or len(tiles) != len(xs) * len(ys):
        raise ValueError(
            f"{len(tiles)} tiles, xs of shape {xs.shape}, ys of shape {ys.shape}; needed: "
            "(columns,), (rows,) and a tile for each pair"
        )
    rgb, note = grey_scale(tiles, image_shape)
    height, width = image_shape[1:]
    tile = int(np.clip(GRID_PIXELS // max(len(xs), len(ys)) - GAP, *TILE_PIXELS))
    shrink = min(1.0, tile / max(height, width))
    pixels = montage(rgb, len(xs), zoom_for(height, width, tile))
    drawn_height, drawn_width = (side * shrink / DPI for side in pixels.shape[:2])
    title = f"Decoded grid of {len(xs)} x {len(ys)} codes"
    figure = new_figure(
        max(LEFT + drawn_width + RIGHT, heading_width(title, note)),
        TITLE + drawn_height + BELOW,
        constrained=False,
    )
    heading(figure, title, note)
    axes = place(figure, pixels, left=LEFT, top=TITLE, shrink=shrink)
    _label_values(axes, xs, ys, pixels.shape[:2], shrink)
    return Picture(
        "decoded_grid", figure, {"tiles": tiles.copy(), "xs": xs.copy(), "ys": ys.copy()}
    )


def _label_values(axes: Axes, xs: Floats, ys: Floats, size: tuple[int, ...], shrink: float) -> None:
    """Label the axes with the latents, as many as there is room for."""
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    height, width = size
    texts = [f"{value:.3g}" for value in xs]
    # Labels are left out where neighbours would touch.
    wide = max(text_width(f"{text} ", POINTS) for text in texts) * DPI / shrink
    for axis, values, side, room in (
        (axes.xaxis, xs, width, wide),
        (axes.yaxis, ys, height, 1.4 * POINTS / 72 * DPI / shrink),
    ):
        cell = (side - GAP) / len(values)
        shown = range(0, len(values), int(np.ceil(room / cell)))
        axis.set_ticks(
            [GAP / 2 + cell * (i + 0.5) for i in shown], [f"{values[i]:.3g}" for i in shown]
        )
        axis.set_tick_params(length=2, labelsize=POINTS, labelcolor=GREY, pad=2)
    axes.set_xlabel("latent 0", fontsize=9)
    axes.set_ylabel("latent 1", fontsize=9)
