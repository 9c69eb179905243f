"""Weights of single latents: first-layer filters and decoder atoms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import (
    COLORMAP,
    NOT_A_NUMBER,
    scale_about_zero,
    symmetric_limit,
    unit_rows,
)
from sae_cli.pictures.picture import (
    DPI,
    GREY,
    TEXT_POINTS,
    Floats,
    Picture,
    heading,
    heading_width,
    new_figure,
    plain_axes,
    whole_numbers,
)
from sae_cli.pictures.tiles import (
    GAP,
    is_image,
    montage,
    near_square,
    place,
    write_beside,
    zoom_for,
)
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_TILES = 144
MONTAGE_PIXELS = 760  # width that a montage should fill
TILE_PIXELS = (28, 200)  # narrowest and widest tile
LABELS, TITLE, SCALE = 0.42, 0.52, 0.85  # inches: left of a montage, above it, right of it
LABEL_PIXELS = 16  # the least height of a row whose label does not touch the next
SHORTEST = 0.9  # inches: the least height beside which the colour scale's name fits


@register(Chapter.WEIGHTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw filters where the encoder's first layer has them, atoms of a trained decoder."""
    shape, first = view.input_shape, view.filters
    if first is not None:
        yield filters(
            first[:N_TILES].reshape(-1, math.prod(first.shape[1:])),
            shape if first.ndim == 2 else first.shape[1:],
            name="filters",
            title="First-layer filters",
            total=len(first),
        )
    if view.decoder_trained:
        atoms = view.atoms(np.arange(min(N_TILES, view.n_latents)))
        yield filters(atoms, shape, name="atoms", title="Decoder atoms", total=view.n_latents)


def filters(
    weights: Floats,
    image_shape: tuple[int, ...],
    *,
    name: str,
    title: str,
    total: int | None = None,
) -> Picture:
    """Draw ``weights`` ``(n_latents, n_features)``, the first of ``total`` latents.

    With an image shape ``(1, h, w)`` or ``(3, h, w)`` each row is a tile, divided by its L2 norm,
    and all tiles share one colour scale that is symmetric about zero. With any other shape the
    rows are drawn as they are, in one heat map. ``name`` is the file stem.

    Numbers: ``weights`` (those drawn, as given) and ``indices`` (which latents they are).

    Raises:
        ValueError: no latent, or rows that do not have the features of ``image_shape``.
    """
    if weights.ndim != 2 or not len(weights) or weights.shape[1] != math.prod(image_shape):
        raise ValueError(
            f"weights have shape {weights.shape}; needed: at least 1 row of "
            f"{math.prod(image_shape)} features for {image_shape}"
        )
    shown = np.array(weights)
    of_all = "" if total in (None, len(shown)) else f" of {total}"
    heading_text = f"{title} ({len(shown)}{of_all})"
    draw = _draw_montage if is_image(image_shape) else _draw_heat_map
    figure = draw(shown, image_shape, heading_text)
    return Picture(name, figure, {"weights": shown, "indices": np.arange(len(shown))})


def _draw_montage(weights: Floats, image_shape: tuple[int, ...], title: str) -> Figure:
    channels, height, width = image_shape
    tiles = unit_rows(weights)
    rgb, limit = scale_about_zero(tiles.reshape(-1, *image_shape))
    columns = near_square(len(tiles), height, width)
    tile = int(np.clip(MONTAGE_PIXELS // columns - GAP, *TILE_PIXELS))
    zoom = zoom_for(height, width, tile)
    shrink = min(1.0, tile / max(height, width))
    pixels = montage(rgb, columns, zoom)
    drawn_height, drawn_width = (side * shrink / DPI for side in pixels.shape[:2])
    right = SCALE if channels == 1 else 0.12
    note = "each divided by its L2 norm; at the left: the index of a row's first latent"
    figure = new_figure(
        max(LABELS + drawn_width + right, heading_width(title, note)),
        TITLE + max(drawn_height, SHORTEST) + 0.12,
        constrained=False,
    )
    heading(figure, title, note)
    axes = place(figure, pixels, left=LABELS, top=TITLE, shrink=shrink)
    cell = (pixels.shape[0] - GAP) / -(-len(tiles) // columns)
    labelled = math.ceil(LABEL_PIXELS / (cell * shrink))  # flat rows are not all labelled
    for row in range(0, -(-len(tiles) // columns), labelled):
        middle = GAP + cell * row + (cell - GAP) / 2
        write_beside(axes, str(row * columns), (0, middle), (-4, 0), 6.5, GREY)
    if channels == 1:
        _draw_scale_bar(figure, limit, bool((np.abs(tiles) > limit).any()), LABELS + drawn_width)
    return figure


def _draw_scale_bar(figure: Figure, limit: float, clipped: bool, left: float) -> None:
    """Draw the colour scale beside a montage, with pointed ends if some values lie beyond."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, height = figure.get_size_inches()
    long = min(height - TITLE - 0.12, 2.4)
    box = ((left + 0.12) / width, 1 - (TITLE + long) / height, 0.11 / width, long / height)
    bar = figure.colorbar(
        ScalarMappable(Normalize(-limit, limit), COLORMAP),
        cax=figure.add_axes(box),
        extend="both" if clipped else "neither",
        ticks=[-limit, 0, limit],
    )
    bar.ax.set_yticklabels([f"-{limit:.2g}", "0", f"{limit:.2g}"], fontsize=7)
    bar.set_label("weight / norm", fontsize=7, labelpad=3)
    bar.outline.set_linewidth(0.5)


def _draw_heat_map(weights: Floats, shape: tuple[int, ...], title: str) -> Figure:
    limit = symmetric_limit(weights, 100)
    height = float(np.clip(len(weights) * 0.12, 1.2, 5.0))
    figure = new_figure(7.5, height + 1.0, constrained=True)
    heading(figure, title)
    axes = figure.subplots()
    plain_axes(axes, grid=False)
    axes.set_facecolor(NOT_A_NUMBER)
    image = axes.imshow(
        weights, cmap=COLORMAP, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    for axis, label in ((axes.xaxis, "feature"), (axes.yaxis, "latent")):
        whole_numbers(axis)
        axis.set_label_text(label, fontsize=9)
    bar = figure.colorbar(image, ax=axes, pad=0.015, fraction=0.03, aspect=30)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("weight", fontsize=TEXT_POINTS)
    return figure
