"""Atoms in the order of how often their latents fire, beside a histogram of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sae_cli.core.text import counted
from sae_cli.pictures.bars import legend_above
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import COLORMAP, NOT_A_NUMBER, atom_colours, symmetric_limit
from sae_cli.pictures.latents.firing import describe, draw_firing
from sae_cli.pictures.picture import (
    DPI,
    Floats,
    Integers,
    Picture,
    heading,
    new_figure,
    plain_axes,
)
from sae_cli.pictures.tiles import GAP, is_image, montage, near_square, place, zoom_for
from sae_cli.pictures.view import View, by_activity, some_inactive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_TILES = 100
SIDE = 4.2  # inches: of the montage or the heat map, and the height of the histogram
TITLE, LEFT, BETWEEN, RIGHT, BELOW = 0.8, 0.12, 0.75, 0.15, 0.5  # inches around the two
FADED = 0.75  # how far the colours of a dead atom are moved towards grey
FADED_TO = 0.82


@register(Chapter.ACTIVITY)
def draw(view: View) -> Iterator[Picture]:
    """Draw the atoms of a trained decoder where some codes count as inactive."""
    if not view.decoder_trained or not some_inactive(view):
        return
    order = spread(by_activity(view), N_TILES)
    counts, n_examples = view.firing
    yield atoms_by_activity(
        view.atoms(order),
        view.input_shape,
        order,
        counts=counts,
        n_examples=n_examples,
        active_above=view.active_above,
    )


def spread(order: Integers, most: int) -> Integers:
    """Give at most so many latents of an order, evenly spaced, with the first and the last."""
    n = min(most, len(order))
    return order[np.linspace(0, len(order) - 1, n).round().astype(np.int64)]


def atoms_by_activity(
    atoms: Floats,
    image_shape: tuple[int, ...],
    order: Integers,
    *,
    counts: Integers,
    n_examples: int,
    active_above: float,
) -> Picture:
    """Draw ``atoms`` ``(n, n_features)`` row by row, and how often all latents fire beside them.

    Images are tiles, each divided by its L2 norm, on one colour scale that is symmetric about
    zero. Other atoms are the rows of a heat map. Those of dead latents are greyed.

    Args:
        order: ``(n,)``, which latents the atoms belong to, in falling order of activity.
        counts: ``(n_latents,)``, how many examples activate each latent.
        n_examples: of how many.
        active_above: the magnitude above which a code was counted as active.

    Numbers: ``atoms``, ``order``, ``shares`` ``(n,)`` of the examples that activate the latents
    drawn, and ``counts`` and ``edges`` of the histogram.

    Raises:
        ValueError: as ``draw_firing``, or atoms that do not have the features of ``image_shape``.
    """
    shares = counts[order] / max(1, n_examples)
    dead = counts[order] == 0
    if is_image(image_shape):
        pixels, shrink = _tiles(atoms, image_shape, dead)
        height, width = (side * shrink / DPI for side in pixels.shape[:2])
        left = LEFT
    else:
        height, width, left = SIDE, SIDE, BETWEEN
    start = max(left + width + BETWEEN, 4.2)
    tall = max(height, 2.6)
    figure = new_figure(start + SIDE + RIGHT, TITLE + tall + BELOW, constrained=False)
    few = "" if len(order) == len(counts) else f"{len(order)} of "
    title = f"Atoms by how often they fire ({few}{counted(len(counts), 'latent')})"
    how = f"from {shares.max():.1%} to {shares.min():.1%} of {counted(n_examples, 'example')}"
    note = f"in falling order, row by row, {how} have a code {describe(active_above)}; dead: grey"
    heading(figure, title, note)
    if is_image(image_shape):
        place(figure, pixels, left=left, top=TITLE, shrink=shrink)
    else:
        _heat_map(_add_axes(figure, left, width, height), atoms, dead)
    axes = _add_axes(figure, start, SIDE, tall)
    plain_axes(axes, grid=True)
    axes.grid(axis="x", visible=False)
    firing = draw_firing(axes, counts, n_examples, active_above=active_above)
    legend_above(axes)
    numbers = {"atoms": np.array(atoms), "order": np.array(order), "shares": shares}
    return Picture(
        "atoms_by_activity", figure, numbers | {name: firing[name] for name in ("counts", "edges")}
    )


def _add_axes(figure: Figure, left: float, width: float, height: float) -> Axes:
    """Add axes below the title, their place in inches."""
    whole, high = figure.get_size_inches()
    return figure.add_axes(
        (left / whole, 1 - (TITLE + height) / high, width / whole, height / high)
    )


def _tiles(
    atoms: Floats, image_shape: tuple[int, ...], dead: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint8], float]:
    height, width = image_shape[1:]
    columns = near_square(len(atoms), height, width)
    tile = int(np.clip(SIDE * DPI // columns - GAP, 24, 110))
    rgb = atom_colours(atoms, image_shape)
    rgb[dead] += FADED * (FADED_TO - rgb[dead])
    return montage(rgb, columns, zoom_for(height, width, tile)), min(1.0, tile / max(height, width))


def _heat_map(axes: Axes, atoms: Floats, dead: npt.NDArray[np.bool_]) -> None:
    limit = symmetric_limit(atoms, 100)
    plain_axes(axes, grid=False)
    axes.set_facecolor(NOT_A_NUMBER)
    axes.imshow(
        atoms, cmap=COLORMAP, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    if dead.any():
        first = int(np.argmax(dead))
        axes.axhspan(first - 0.5, len(atoms) - 0.5, color=str(FADED_TO), alpha=FADED, linewidth=0)
    axes.set_xlabel("feature", fontsize=9)
    axes.set_ylabel("latents in falling order", fontsize=9)
    axes.set_yticks([])
