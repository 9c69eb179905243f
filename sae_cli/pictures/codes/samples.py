"""Decoded draws from the prior."""

from __future__ import annotations

import numpy as np

from sae_cli.pictures.colours import grey_scale
from sae_cli.pictures.picture import DPI, Floats, Picture, heading, heading_width, new_figure
from sae_cli.pictures.tiles import GAP, montage, near_square, place, zoom_for

MONTAGE_PIXELS = 760  # width that the tiles should fill
TILE_PIXELS = (28, 200)  # narrowest and widest tile
TITLE, MARGIN = 0.52, 0.1  # inches: above the tiles, and around them


def samples(tiles: Floats, image_shape: tuple[int, ...], *, title: str) -> Picture:
    """Draw ``tiles`` ``(n, features)`` row by row, about as wide as high.

    Numbers: ``tiles``.

    Raises:
        ValueError: ``image_shape`` is not that of images, or the tiles do not have its features.
    """
    rgb, note = grey_scale(tiles, image_shape)
    height, width = image_shape[1:]
    columns = near_square(len(tiles), height, width)
    tile = int(np.clip(MONTAGE_PIXELS // columns - GAP, *TILE_PIXELS))
    shrink = min(1.0, tile / max(height, width))
    pixels = montage(rgb, columns, zoom_for(height, width, tile))
    drawn_height, drawn_width = (side * shrink / DPI for side in pixels.shape[:2])
    figure = new_figure(
        max(drawn_width + 2 * MARGIN, heading_width(title, note)),
        TITLE + drawn_height + MARGIN,
        constrained=False,
    )
    heading(figure, title, note)
    place(figure, pixels, left=MARGIN, top=TITLE, shrink=shrink)
    return Picture("samples", figure, {"tiles": tiles.copy()})
