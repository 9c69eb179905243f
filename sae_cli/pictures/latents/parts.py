"""Parts and categories: the latents whose encoder and decoder agree most, and least."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import scale_about_zero, unit_rows
from sae_cli.pictures.latents.angles import part_angles
from sae_cli.pictures.picture import (
    DPI,
    GREY,
    TEXT_POINTS,
    Floats,
    Integers,
    Picture,
    heading,
    heading_width,
    new_figure,
)
from sae_cli.pictures.tiles import GAP, images_of, is_image, montage, place, write_beside, zoom_for
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_EACH = 10  # latents of either kind
TILE_PIXELS = 84
TITLE, LEFT, RIGHT, BELOW = 0.5, 0.72, 0.12, 0.1  # inches around the two blocks
HEADER, ANGLES = 0.26, 0.2  # inches: above a block, and below it
SMALL_POINTS = 6.5


@register(Chapter.LATENTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw them where a classifier of the codes was trained along with an image model."""
    rows, atoms = view.filters, view.dictionary
    if not view.has_head or rows is None or atoms is None or rows.shape != atoms.shape:
        return
    alive = np.flatnonzero(view.firing[0] > 0)
    if is_image(view.input_shape) and len(alive) >= 2:
        yield parts_and_categories(rows, atoms, view.input_shape, alive)


def parts_and_categories(
    rows: Floats, atoms: Floats, image_shape: tuple[int, ...], alive: Integers
) -> Picture:
    """Draw encoder rows above decoder atoms, of the smallest angles and of the largest.

    Where the two agree, a latent is a part of an image; where they do not, it stands for a
    category and its atom looks like an example of it (Rolfe and LeCun 2013). Each tile
    is divided by its L2 norm; all have one colour scale that is symmetric about zero.

    Args:
        rows, atoms: ``(n_latents, n_features)``.
        alive: the latents to choose from, at least two; each is shown once at most.

    Numbers: ``latents`` in the order of their angles, ``angles`` (radians), ``rows``, ``atoms``;
    the first half are parts.

    Raises:
        ValueError: fewer than two latents, or rows that are not images of this shape.
    """
    if len(alive) < 2:
        raise ValueError(f"{len(alive)} latents; needed: at least 2")
    all_angles = part_angles(torch.from_numpy(rows), torch.from_numpy(atoms).t()).numpy()
    order = alive[np.argsort(all_angles[alive], kind="stable")]
    n = min(N_EACH, len(order) // 2)
    latents = np.concatenate([order[:n], order[len(order) - n :]])
    numbers = {
        **{"latents": latents, "angles": all_angles[latents]},
        **{"rows": rows[latents], "atoms": atoms[latents]},
    }
    title = f"Parts and categories ({2 * n} of {counted(len(alive), 'live latent')})"
    note = "each divided by its L2 norm; below: the latent, and its angle in radians"
    strips, shrink = _strips(numbers["rows"], numbers["atoms"], image_shape, n)
    tall, wide = (side * shrink / DPI for side in strips[0].shape[:2])
    each = HEADER + tall + ANGLES
    figure = new_figure(
        max(LEFT + wide + RIGHT, heading_width(title, note)),
        TITLE + 2 * each + BELOW,
        constrained=False,
    )
    heading(figure, title, note)
    texts = [f"{one}: {angle:.2f}" for one, angle in zip(latents, numbers["angles"], strict=True)]
    for block, name in enumerate(
        ("the smallest angles: most part-like", "the largest angles: most categorical")
    ):
        top = TITLE + block * each
        _write(figure, top + HEADER / 2, name)
        axes = place(figure, strips[block], left=LEFT, top=top + HEADER, shrink=shrink)
        _label(axes, strips[block].shape, texts[block * n : (block + 1) * n])
    return Picture("parts_and_categories", figure, numbers)


def _strips(
    rows: Floats, atoms: Floats, image_shape: tuple[int, ...], n: int
) -> tuple[list[npt.NDArray[np.uint8]], float]:
    """Lay out encoder rows above atoms, for the first ``n`` latents and for the others."""
    tiles = np.concatenate([images_of(rows, image_shape), images_of(atoms, image_shape)])
    unit = unit_rows(tiles.reshape(len(tiles), -1))
    rgb, _ = scale_about_zero(unit.reshape(tiles.shape))
    above, below = rgb[: 2 * n], rgb[2 * n :]
    height, width = image_shape[1:]
    zoom = zoom_for(height, width, TILE_PIXELS)
    strips = [
        montage(np.concatenate([above[start : start + n], below[start : start + n]]), n, zoom)
        for start in (0, n)
    ]
    return strips, min(1.0, TILE_PIXELS / max(height, width))


def _write(figure: Figure, top: float, text: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(LEFT / width, 1 - top / height, text, va="center", fontsize=TEXT_POINTS)


def _label(axes: Axes, size: tuple[int, ...], texts: list[str]) -> None:
    """Name the two rows of a strip at their left, and write a text below each of its columns."""
    height, width = size[:2]
    for y, name in ((height / 4, "encoder"), (height * 3 / 4, "atom")):
        write_beside(axes, name, (0, y), (-5, 0), TEXT_POINTS)
    cell = (width - GAP) / len(texts)
    for i, text in enumerate(texts):
        centre = GAP / 2 + cell * (i + 0.5)
        write_beside(axes, text, (centre, height), (0, -3), SMALL_POINTS, GREY)
