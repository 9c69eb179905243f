"""What all pictures of decoded codes share: tiles on one grey scale, and a note that states it."""

from __future__ import annotations

import math

import numpy as np

from sae_cli.pictures.picture import Floats
from sae_cli.pictures.tiles import colours, is_image


def images_of(tiles: Floats, image_shape: tuple[int, ...]) -> Floats:
    """Rows ``(n, features)`` as images ``(n, c, h, w)``.

    Raises:
        ValueError: examples of that shape are no images, or no row, or rows of another size.
    """
    if not is_image(image_shape):
        raise ValueError(f"{image_shape} is no image; needed: (1, h, w) or (3, h, w)")
    if tiles.ndim != 2 or not len(tiles) or tiles.shape[1] != math.prod(image_shape):
        raise ValueError(
            f"tiles have shape {tiles.shape}; needed: at least 1 row of "
            f"{math.prod(image_shape)} features for {image_shape}"
        )
    return tiles.reshape(-1, *image_shape)


def decoded(tiles: Floats, image_shape: tuple[int, ...]) -> tuple[Floats, str]:
    """Tiles in colour ``(n, h, w, 3)``, all on one scale, and a note that states the scale.

    Values within [0, 1] are drawn as they are; others over their own range.

    Raises:
        ValueError: as ``images_of``.
    """
    from matplotlib import colormaps

    images = images_of(tiles, image_shape)
    finite = images[np.isfinite(images)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    if low == high:
        high = low + 1.0
    kind = "black is {:.3g} and white is {:.3g}"
    note = kind if image_shape[0] == 1 else "colour channels from {:.3g} to {:.3g}"
    return colours(images, low, high, colormaps["gray"]), note.format(low, high)
