"""How numbers become colours: decoded tiles on a grey scale, weights on one about zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae_cli.pictures.picture import Floats
from sae_cli.pictures.tiles import images_of

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

COLORMAP = "RdBu_r"  # blue below zero, white at zero, red above
SATURATED = 99.5  # percentile of |value| with full colour: one pixel cannot pale all others
NOT_A_NUMBER = (0.85, 0.75, 0.2)  # mustard: in neither a grey nor a red-blue scale


def colours(images: Floats, low: float, high: float, colormap: Colormap) -> Floats:
    """Turn images ``(n, c, h, w)`` into RGB in 0 to 1, ``(n, h, w, 3)``.

    One channel goes through the colour map, three channels are red, green and blue. Values outside
    ``low`` to ``high`` take the colour of the nearer end; values that are not numbers stand out.
    """
    scaled = np.clip((images.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    missing = np.isnan(scaled).any(axis=1)
    scaled = np.nan_to_num(scaled)
    if images.shape[1] == 1:
        rgb = np.asarray(colormap(scaled[:, 0]), dtype=np.float64)[..., :3]
    else:
        rgb = scaled.transpose(0, 2, 3, 1).copy()
    rgb[missing] = NOT_A_NUMBER
    return rgb


def grey_scale(tiles: Floats, image_shape: tuple[int, ...]) -> tuple[Floats, str]:
    """Colour decoded tiles ``(n, features)`` on one scale, as ``(n, h, w, 3)``, and state it in a
    note.

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


def scale_about_zero(images: Floats) -> tuple[Floats, float]:
    """Colour weights ``(n, c, h, w)`` on one scale, as ``(n, h, w, 3)``, and give its limit: the
    absolute value that gets full colour."""
    from matplotlib import colormaps

    limit = symmetric_limit(images, SATURATED)
    return colours(images, -limit, limit, colormaps[COLORMAP]), limit


def atom_colours(atoms: Floats, image_shape: tuple[int, ...]) -> Floats:
    """Colour atoms ``(n, n_features)``, each divided by its L2 norm, as ``(n, h, w, 3)``.

    Raises:
        ValueError: as ``images_of``.
    """
    images = images_of(atoms, image_shape)
    unit = unit_rows(images.reshape(len(atoms), -1))
    return scale_about_zero(unit.reshape(images.shape))[0]


def symmetric_limit(values: Floats, percentile: float) -> float:
    """The absolute value that gets full colour; 1 if all values are zero."""
    sizes = np.abs(values[np.isfinite(values)])
    if not sizes.size or not sizes.max():
        return 1.0
    # Where most weights are zero (masked or pruned), so is the percentile.
    return float(np.percentile(sizes, percentile)) or float(sizes.max())


def unit_rows(weights: Floats) -> Floats:
    """Divide rows by their L2 norms, in float64; a row of zeros stays zeros."""
    wide = weights.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    norms[norms == 0] = 1.0
    with np.errstate(invalid="ignore"):  # an infinite weight makes its row not-a-number
        return np.asarray(wide / norms)
