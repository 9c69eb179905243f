"""A run in one glance: inputs and reconstructions, atoms, the course of the loss, activity."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sae_cli.core.text import counted
from sae_cli.pictures.bars import legend_above
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.codes.histograms import draw_codes
from sae_cli.pictures.colours import (
    COLORMAP,
    NOT_A_NUMBER,
    atom_colours,
    colours,
    symmetric_limit,
)
from sae_cli.pictures.examples.reconstructions import LINES, ROWS, input_range
from sae_cli.pictures.latents.firing import draw_firing
from sae_cli.pictures.picture import DPI, Floats, Picture, heading, new_figure, plain_axes
from sae_cli.pictures.tiles import GAP, is_image, montage, place, zoom_for
from sae_cli.pictures.training.panels import collect, draw_panel, find_stages, label_epochs
from sae_cli.pictures.view import View, by_activity, some_inactive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_EXAMPLES, N_PLOTS = 8, 2  # images, and examples that are none
N_TILES, N_ROWS = 50, 64  # about so many atoms
# Inches from the upper left: a column of images, and one of curves.
WIDTH, HEIGHT = 11.2, 5.95
LEFT, COLUMN, TOP, TITLE = 0.12, 4.9, 0.42, 0.2
RIGHT, CURVES = 5.8, 5.2
UPPER, LOWER = (0.62, 1.85), (3.28, 2.15)  # top and height of either curve

Box = tuple[float, float, float, float]


@register(Chapter.OVERVIEW)
def draw(view: View) -> Iterator[Picture]:
    """Draw the overview where the decoder was trained."""
    if view.decoder_trained:
        yield overview(view)


def overview(view: View) -> Picture:
    """Draw the first test examples over their reconstructions, atoms from the most active on, the
    loss, and how often latents fire, or, where all codes count as active, a histogram of codes.

    Numbers: ``x`` and ``x_hat`` of the examples, ``atoms`` and ``latents`` (which they are),
    ``epoch``, ``stage``, ``train/loss``, ``val/loss``, and ``counts`` and ``edges`` of the
    histogram.
    """
    image = is_image(view.input_shape)
    n = N_EXAMPLES if image else N_PLOTS
    x, x_hat = (np.array(row[:n]) for row in (view.examples.x, view.examples.x_hat))
    figure = new_figure(WIDTH, HEIGHT, constrained=False)
    features = " x ".join(map(str, view.input_shape))
    heading(figure, f"Overview: {counted(view.n_latents, 'latent')} for inputs of {features}")
    _title(figure, LEFT, TOP, f"{ROWS['x']}s over {ROWS['x_hat']}s")
    below = TOP + TITLE
    below += (_strip if image else _plots)(figure, x, x_hat, below) + 0.18
    room = HEIGHT - below - TITLE - (0.1 if image else 0.5)
    columns, rows = _grid(view.input_shape, room, view.n_latents) if image else (1, N_ROWS)
    latents = by_activity(view)[: columns * rows]
    atoms = np.array(view.atoms(latents))
    _title(figure, LEFT, below, "decoder atoms, the most active latents first")
    (_tiles if image else _heat_map)(figure, atoms, view.input_shape, below + TITLE, room)
    numbers: dict[str, npt.NDArray[Any]] = {
        **{"x": x, "x_hat": x_hat, "atoms": atoms, "latents": latents.copy()},
        **_loss(_add_axes(figure, (RIGHT, UPPER[0], CURVES, UPPER[1])), view.lines),
        **_activity(_add_axes(figure, (RIGHT, LOWER[0], CURVES, LOWER[1])), view),
    }
    return Picture("overview", figure, numbers)


def _title(figure: Figure, left: float, top: float, text: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va="top", fontsize=9)


def _add_axes(figure: Figure, box: Box) -> Axes:
    """Add axes at left, top, width and height in inches."""
    whole, high = figure.get_size_inches()
    left, top, width, height = box
    axes = figure.add_axes((left / whole, 1 - (top + height) / high, width / whole, height / high))
    plain_axes(axes, grid=True)
    return axes


def _strip(figure: Figure, x: Floats, x_hat: Floats, top: float) -> float:
    """Draw images, and give the height that they take."""
    from matplotlib import colormaps

    shape = x.shape[1:]
    rgb = colours(np.concatenate([x, x_hat]), *input_range(x), colormaps["gray"])
    tile = int(COLUMN * DPI / max(len(x), 4)) - GAP
    shrink = min(1.0, tile / max(shape[1:]))
    pixels = montage(rgb, len(x), zoom_for(shape[1], shape[2], tile))
    place(figure, pixels, left=LEFT, top=top, shrink=shrink)
    return float(pixels.shape[0] * shrink / DPI)


def _plots(figure: Figure, x: Floats, x_hat: Floats, top: float) -> float:
    """Draw the features of examples as lines, and give the height that they take."""
    for index, (one, other) in enumerate(zip(x, x_hat, strict=True)):
        axes = _add_axes(figure, (LEFT + 0.4, top + 0.75 * index, COLUMN - 0.4, 0.6))
        axes.tick_params(labelbottom=index == len(x) - 1)
        axes.plot(one.reshape(-1), **LINES["x"])
        axes.plot(other.reshape(-1), **LINES["x_hat"])
        axes.margins(x=0.01)
    return 0.75 * len(x) + 0.2


def _grid(image_shape: tuple[int, ...], room: float, n: int) -> tuple[int, int]:
    """Give the columns and rows that fill the left column with atoms, of more than 50 about 50."""
    height, width = image_shape[1:]
    least = max(1, round(np.sqrt(min(n, N_TILES) * room / COLUMN * width / height)))
    for rows in itertools.count(least):
        columns = max(1, int(COLUMN / (room / rows * width / height)))
        if n > N_TILES or columns * rows >= n:
            break
    return columns, rows


def _tiles(
    figure: Figure, atoms: Floats, image_shape: tuple[int, ...], top: float, room: float
) -> None:
    height, width = image_shape[1:]
    columns, rows = _grid(image_shape, room, len(atoms))
    # Whole pixels, and at least one for each of an image: what is larger is shrunk.
    tile = int(min(room * DPI / rows * max(1.0, width / height), COLUMN * DPI / columns)) - GAP
    zoom = zoom_for(height, width, tile)
    pixels = montage(atom_colours(atoms, image_shape), min(columns, len(atoms)), zoom)
    shrink = min(1.0, room * DPI / pixels.shape[0], COLUMN * DPI / pixels.shape[1])
    place(figure, pixels, left=LEFT, top=top, shrink=shrink)


def _heat_map(figure: Figure, atoms: Floats, _: tuple[int, ...], top: float, room: float) -> None:
    axes = _add_axes(figure, (LEFT + 0.4, top, COLUMN - 0.4, room))
    axes.grid(visible=False)
    axes.set_facecolor(NOT_A_NUMBER)
    limit = symmetric_limit(atoms, 100)
    axes.imshow(
        atoms, cmap=COLORMAP, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    axes.set_yticks([])
    axes.set_xlabel("feature", fontsize=9)


def _loss(axes: Axes, lines: Any) -> Mapping[str, npt.NDArray[Any]]:
    numbers = collect(lines, ["loss"])
    draw_panel(axes, "loss", numbers, find_stages(numbers["stage"]))
    label_epochs(axes, numbers["epoch"])
    axes.set_ylabel("loss", fontsize=9)
    legend_above(axes)
    return numbers


def _activity(axes: Axes, view: View) -> Mapping[str, npt.NDArray[Any]]:
    axes.grid(axis="x", visible=False)
    if some_inactive(view):
        firing = draw_firing(axes, *view.firing, active_above=view.active_above)
        legend_above(axes)
        return {name: firing[name] for name in ("counts", "edges")}
    counts, edges = view.code_counts
    draw_codes(axes, counts, edges)
    return {"counts": counts.copy(), "edges": edges.copy()}
