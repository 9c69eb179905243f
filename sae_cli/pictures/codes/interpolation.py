"""What lies between two inputs: the line between their codes, decoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import grey_scale
from sae_cli.pictures.picture import (
    DPI,
    TEXT_POINTS,
    Floats,
    Picture,
    heading,
    heading_width,
    new_figure,
)
from sae_cli.pictures.tiles import is_image, montage, place, zoom_for
from sae_cli.pictures.view import View

N_PAIRS, N_STEPS = 6, 9
TILE_PIXELS = 92
TITLE, NAMES, MARGIN, BETWEEN = 0.52, 0.2, 0.12, 0.1  # inches


@register(Chapter.CODES)
def draw(view: View) -> Iterator[Picture]:
    """Draw pairs of the first test examples where the decoder was trained and makes images."""
    if not view.decoder_trained or not is_image(view.input_shape):
        return
    x = view.examples.x
    n = min(N_PAIRS, len(x) // 2)
    if n:
        first, last = view.codes[: 2 * n : 2], view.codes[1 : 2 * n : 2]
        codes = line_between(first, last, N_STEPS)
        decoded = view.decode(codes.reshape(-1, view.n_latents))
        yield interpolation(
            x[: 2 * n : 2], decoded.reshape(n, N_STEPS, *view.input_shape), x[1 : 2 * n : 2]
        )


def line_between(first: Floats, last: Floats, steps: int) -> Floats:
    """Give codes ``(n, steps, n_latents)`` at equal distances from ``first`` to ``last``, both
    ``(n, n_latents)``."""
    share = np.linspace(0.0, 1.0, steps, dtype=first.dtype)[:, None]
    return first[:, None] * (1 - share) + last[:, None] * share


def interpolation(first: Floats, decoded: Floats, last: Floats) -> Picture:
    """Draw a row for each pair: an input, what the line between the codes decodes to, an input.

    Args:
        first, last: the inputs, each ``(n, *image_shape)``.
        decoded: ``(n, steps, *image_shape)``; the first and the last are the reconstructions.

    Numbers: ``first``, ``decoded`` and ``last``.

    Raises:
        ValueError: no pair, or shapes that do not fit.
    """
    n, steps, *shape = decoded.shape
    if not n or first.shape != (n, *shape) or last.shape != (n, *shape):
        raise ValueError(
            f"inputs have shapes {first.shape} and {last.shape}, decoded {decoded.shape}; needed: "
            "at least 1 pair, of each two inputs and the steps between"
        )
    rows = np.concatenate([first[:, None], decoded, last[:, None]], 1)
    rgb, note = grey_scale(rows.reshape(n * (steps + 2), -1), tuple(shape))
    rgb = rgb.reshape(n, steps + 2, *rgb.shape[1:])
    height, width = shape[1:]
    zoom = zoom_for(height, width, TILE_PIXELS)
    shrink = min(1.0, TILE_PIXELS / max(height, width))
    parts = [rgb[:, :1], rgb[:, 1:-1], rgb[:, -1:]]
    pixels = [montage(part.reshape(-1, *rgb.shape[2:]), part.shape[1], zoom) for part in parts]
    wide = [part.shape[1] * shrink / DPI for part in pixels]
    tall = pixels[0].shape[0] * shrink / DPI
    title = "Between two inputs: the line between their codes, decoded"
    figure = new_figure(
        max(2 * MARGIN + 2 * BETWEEN + sum(wide), heading_width(title, note)),
        TITLE + NAMES + tall + MARGIN,
        constrained=False,
    )
    heading(figure, title, note)
    left = MARGIN
    for montaged, name, across in zip(
        pixels, ("input", "from the one reconstruction to the other", "input"), wide, strict=True
    ):
        axes = place(figure, montaged, left=left, top=TITLE + NAMES, shrink=shrink)
        axes.set_title(name, fontsize=TEXT_POINTS, pad=2.5)
        left += across + BETWEEN
    numbers = {"first": first, "decoded": decoded, "last": last}
    return Picture("interpolation", figure, {key: np.array(one) for key, one in numbers.items()})
