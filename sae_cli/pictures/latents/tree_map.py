"""Atoms drawn as a tree: only those on one path of it do not inhibit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import scale_about_zero, unit_rows
from sae_cli.pictures.picture import (
    DPI,
    GREY,
    Floats,
    Integers,
    Picture,
    heading,
    heading_width,
    new_figure,
)
from sae_cli.pictures.tiles import BORDER, images_of, is_image
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDEST = 12.6  # inches: of the tree
TILE = (0.1, 0.62)  # inches: narrowest and widest tile; with more leaves tiles get narrower still
BETWEEN = 0.18  # of a tile: between two leaves
TITLE, BELOW, SIDES = 0.55, 0.12, 0.12  # inches
INDEXED = 0.3  # inches: the narrowest tile that gets an index
INDEX = 0.13  # inches: below a tile, for its index


@register(Chapter.LATENTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw the tree that the penalty makes of a dictionary's atoms, if they are images."""
    atoms, shape, parents = view.dictionary, view.input_shape, view.parents
    if atoms is not None and parents is not None and is_image(shape):
        yield tree_map(atoms, shape, parents)


def tree_map(atoms: Floats, image_shape: tuple[int, ...], parents: Integers) -> Picture:
    """Draw ``atoms`` ``(n, features)`` as a tree, with a line from each parent to its children.

    Lateral inhibition (Gregor, Szlam & LeCun 2011) spares the pairs of an ancestor and a
    descendant: a line in the picture is a zero in S. Each atom is divided by its L2 norm, and all
    share one colour scale that is symmetric about zero.

    Args:
        atoms: one row each.
        image_shape: ``(1, h, w)`` or ``(3, h, w)``.
        parents: ``(n,)``, the index of each atom's parent, -1 for a root. There may be several
            roots.

    Numbers: ``atoms`` and ``parents``.

    Raises:
        ValueError: not images, shapes that do not fit, a parent that is not an atom, or a circle.
    """
    unit = unit_rows(images_of(atoms, image_shape).reshape(len(atoms), -1))
    if parents.shape != (len(atoms),):
        raise ValueError(f"parents have shape {parents.shape}; needed: ({len(atoms)},)")
    across, depth = layout(parents)
    rgb, _ = scale_about_zero(unit.reshape(-1, *image_shape))
    height, width = (side / max(image_shape[1:]) for side in image_shape[1:])
    leaves = across.max() + 1
    levels = int(depth.max()) + 1
    roomy = min(TILE[1], WIDEST / leaves / (1 + BETWEEN), WIDEST / levels / 2.2)
    tile = min(max(TILE[0], roomy), WIDEST / leaves)
    step = tile * width * (1 + BETWEEN) if tile > TILE[0] else WIDEST / leaves
    index = INDEX if tile >= INDEXED else 0.0
    level = tile * height + index + max(0.3, 0.8 * tile)
    tree = (leaves - 1) * step + tile * width
    title = f"Tree of {counted(len(atoms), 'atom')}, {counted(levels, 'level')}"
    note = "each divided by its L2 norm; blue below zero, red above; a line is a zero in S"
    full_width = max(tree + 2 * SIDES, heading_width(title, note))
    full_height = TITLE + (levels - 1) * level + tile * height + index + BELOW
    figure = new_figure(full_width, full_height, constrained=False)
    heading(figure, title, note)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # Coordinates are inches from the upper left.
    axes.set(xlim=(0, full_width), ylim=(full_height, 0))
    left = (full_width - tree) / 2 + across * step
    top = TITLE + depth * level
    middle = left + tile * width / 2
    for child in np.flatnonzero(parents >= 0):
        parent = parents[child]
        ends = [top[parent] + tile * height + index, top[child]]
        axes.plot([middle[parent], middle[child]], ends, color=GREY, linewidth=0.8)
    for i, image in enumerate(rgb):
        _draw_tile(axes, image, left[i], top[i], tile * width, tile * height)
        if index:
            axes.text(
                middle[i],
                top[i] + tile * height + 0.02,
                str(i),
                ha="center",
                va="top",
                fontsize=6.5,
            )
    return Picture("tree_map", figure, {"atoms": atoms.copy(), "parents": parents.copy()})


def layout(parents: Integers) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Place each node: across, counted in leaves, and by its depth.

    Leaves stand side by side in the order of a walk through the tree; a parent stands in the
    middle of its first and last child.

    Raises:
        ValueError: a parent that is not a node, or a circle.
    """
    n = len(parents)
    if ((parents < -1) | (parents >= n)).any():
        raise ValueError(f"a parent is outside -1 to {n - 1}")
    children: list[list[int]] = [[] for _ in range(n)]
    for child, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(child)
    across, depth = np.full(n, np.nan), np.zeros(n, np.int64)
    order = [i for i in range(n) if parents[i] < 0][::-1]
    walked: list[int] = []
    leaves = 0
    while order:
        node = order.pop()
        walked.append(node)
        if parents[node] >= 0:
            depth[node] = depth[parents[node]] + 1
        if not children[node]:
            across[node] = leaves
            leaves += 1
        order.extend(reversed(children[node]))
    if len(walked) < n:
        raise ValueError("the parents form a circle")
    # The walk meets parents first; backwards, children are placed before them.
    for node in reversed(walked):
        if children[node]:
            across[node] = (across[children[node][0]] + across[children[node][-1]]) / 2
    return across, depth


def _draw_tile(
    axes: Axes, image: Floats, left: float, top: float, width: float, height: float
) -> None:
    # The tile begins on a whole pixel of the PNG, so that the image is not blurred.
    left, top = round(left * DPI) / DPI, round(top * DPI) / DPI
    axes.imshow(
        image,
        extent=(left, left + width, top + height, top),
        interpolation="nearest",
        aspect="auto",
        zorder=2,
    )
    corners = [left, left + width, left + width, left, left]
    axes.plot(
        corners,
        [top, top, top + height, top + height, top],
        color=str(BORDER),
        linewidth=0.6,
        zorder=3,
    )
