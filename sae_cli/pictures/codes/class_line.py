"""The way from one class to another: the line between the middles of their codes, decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.codes.code_scatter import draw_codes, frame
from sae_cli.pictures.codes.interpolation import line_between
from sae_cli.pictures.colours import grey_scale
from sae_cli.pictures.picture import (
    DPI,
    TEXT_POINTS,
    Floats,
    Integers,
    Picture,
    heading,
    new_figure,
    shorten,
)
from sae_cli.pictures.tiles import GAP, is_image, montage, place, write_beside, zoom_for
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_STEPS = 12
SIDE = 4.6  # inches: the square with the points
LEFT, TITLE, BELOW, BETWEEN, NAMES = 0.85, 0.55, 0.5, 0.3, 0.18  # inches around and between
TILE_PIXELS = (16, 150)  # narrowest and widest tile
COLUMNS = 4
LONGEST_NAME = 12  # letters of a class's name
# What is written among points stands on white.
PLATE = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8}


@register(Chapter.CODES)
def draw(view: View) -> Iterator[Picture]:
    """Draw the way where two latents make a plane, and the examples have classes."""
    if view.n_latents != 2 or not view.decoder_trained or not is_image(view.input_shape):
        return
    labels = view.labels
    if labels is None:
        return
    known = (labels >= 0) & np.isfinite(view.codes).all(1)
    codes, own = view.codes[known], labels[known]
    if len(np.unique(own)) < 2:
        return
    ends = farthest_classes(codes, own)
    first, last = (np.median(codes[own == label], axis=0)[None] for label in ends)
    line = line_between(first, last, N_STEPS)[0]
    yield class_line(
        codes,
        own,
        line,
        view.decode(line),
        view.input_shape,
        ends=ends,
        class_names=view.class_names,
    )


def farthest_classes(codes: Floats, labels: Integers) -> tuple[int, int]:
    """Give the two classes whose medians lie farthest apart, the lower label first."""
    found = np.unique(labels)
    middles = np.stack([np.median(codes[labels == label], axis=0) for label in found])
    apart = np.square(middles[:, None] - middles[None]).sum(2)
    i, j = np.unravel_index(np.argmax(apart), apart.shape)
    return int(found[min(i, j)]), int(found[max(i, j)])


def nearest_labels(codes: Floats, labels: Integers, points: Floats) -> Integers:
    """Give the label of the code nearest to each of ``points``: ``(len(points),)``."""
    distances = np.square(codes[None] - points[:, None]).sum(2)
    nearest: Integers = labels[distances.argmin(1)]
    return nearest


def class_line(
    codes: Floats,
    labels: Integers,
    line: Floats,
    tiles: Floats,
    image_shape: tuple[int, ...],
    *,
    ends: tuple[int, int],
    class_names: Sequence[str] | None = None,
) -> Picture:
    """Draw ``line`` ``(steps, 2)`` over ``codes`` ``(n, 2)``, and its ``tiles`` beside, in order.

    Above each tile ``(steps, features)`` stands the class of the example whose code is nearest.

    Args:
        ends: the labels of the classes that the line begins and ends at.

    Numbers: ``codes``, ``labels``, ``line``, ``tiles`` and the ``nearest`` label of each step.

    Raises:
        ValueError: not images, or shapes that do not fit.
    """
    if codes.shape != (len(labels), 2) or line.shape != (len(tiles), 2):
        raise ValueError(
            f"codes have shape {codes.shape}, labels {labels.shape}, the line {line.shape}, tiles "
            f"{tiles.shape}; needed: (n, 2), (n,), (steps, 2) and (steps, features)"
        )
    rgb, note = grey_scale(tiles, image_shape)
    nearest = nearest_labels(codes, labels, line)
    names = [_name(int(label), class_names) for label in nearest]
    height, width = image_shape[1:]
    rows = -(-len(line) // COLUMNS)
    tile = int(np.clip((SIDE / rows - NAMES) * DPI - 2 * GAP, *TILE_PIXELS))
    shrink = min(1.0, tile / max(height, width))
    strips = [
        montage(rgb[start : start + COLUMNS], COLUMNS, zoom_for(height, width, tile))
        for start in range(0, len(line), COLUMNS)
    ]
    tall, wide = (side * shrink / DPI for side in strips[0].shape[:2])
    step = tall + NAMES + 0.05
    size = (LEFT + SIDE + BETWEEN + wide + 0.12, TITLE + max(SIDE + BELOW, rows * step + 0.1))
    figure = new_figure(*size, constrained=False)
    first, last = (_name(label, class_names) for label in ends)
    heading(figure, f"From {first} to {last}, whose codes lie farthest apart", note)
    box = (LEFT / size[0], 1 - (TITLE + SIDE) / size[1], SIDE / size[0], SIDE / size[1])
    axes = figure.add_axes(box)
    draw_codes(axes, codes, labels, opacity=0.35)
    frame(axes, np.concatenate([codes, line]))
    axes.plot(line[:, 0], line[:, 1], "o-", c="black", markersize=3, linewidth=0.8)
    for point, name in ((line[0], first), (line[-1], last)):
        axes.annotate(
            name, point, (5, 5), textcoords="offset points", fontsize=10, weight="bold", bbox=PLATE
        )
    axes.set_title(counted(len(codes), "code"), fontsize=TEXT_POINTS, pad=3)
    for row, strip in enumerate(strips):
        top = TITLE + row * step + NAMES
        placed = place(figure, strip, left=LEFT + SIDE + BETWEEN, top=top, shrink=shrink)
        _name_tiles(placed, names[row * COLUMNS : (row + 1) * COLUMNS])
    numbers = {"codes": codes, "labels": labels, "line": line, "tiles": tiles, "nearest": nearest}
    return Picture("class_line", figure, {key: np.array(one) for key, one in numbers.items()})


def _name(label: int, class_names: Sequence[str] | None) -> str:
    known = class_names is not None and 0 <= label < len(class_names)
    return shorten(class_names[label], LONGEST_NAME) if class_names and known else str(label)


def _name_tiles(axes: Axes, names: Sequence[str]) -> None:
    """Write a name above each tile of a row."""
    cell = axes.get_xlim()[1] / COLUMNS
    for column, name in enumerate(names):
        write_beside(axes, name, (cell * (column + 0.5), 0), (0, 1.5), TEXT_POINTS)
