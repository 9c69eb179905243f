"""Points among the codes, and what they decode to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sae_cli.core.text import counted
from sae_cli.pictures.codes.code_scatter import check_codes, draw_codes, frame
from sae_cli.pictures.colours import grey_scale
from sae_cli.pictures.picture import DPI, Floats, Integers, Picture, heading, new_figure
from sae_cli.pictures.tiles import GAP, montage, near_square, place, write_beside, zoom_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 4.6  # inches: of the square with the points, and the height that the tiles should fill
LEFT, TITLE, BELOW, BETWEEN = 0.85, 0.55, 0.5, 0.3  # inches around and between the two
NUMBER = 0.15  # inches: above each row of tiles
POINTS = 7.5  # of the numbers
TILE_PIXELS = (16, 150)  # narrowest and widest tile
# A number stands at the first of these offsets from its point, in inches, that has room.
PLACES = [
    (r * np.cos(a), r * np.sin(a))
    for r in (0.1, 0.15, 0.2)
    for a in np.pi * np.arange(0.25, 2, 0.25)
]


def decoded_points(
    points: Floats,
    tiles: Floats,
    image_shape: tuple[int, ...],
    *,
    codes: Floats,
    labels: Integers | None = None,
) -> Picture:
    """Draw ``points`` ``(m, 2)`` in black over ``codes`` ``(n, 2)``, and their ``tiles`` beside.

    Points and tiles ``(m, features)`` have the same numbers, from 0 in the given order. The codes
    are pale, in the colours of ``labels`` ``(n,)`` if there are any.

    Numbers: ``points``, ``tiles``, ``codes`` and, if given, ``labels``.

    Raises:
        ValueError: not images, no code, a point that is not finite, or shapes that do not fit.
    """
    check_codes(codes, labels)
    if points.shape != (len(tiles), 2) or not np.isfinite(points).all():
        raise ValueError(
            f"points have shape {points.shape}; needed: ({len(tiles)}, 2), all of them finite"
        )
    rgb, note = grey_scale(tiles, image_shape)
    height, width = image_shape[1:]
    columns = near_square(len(tiles), height, width)
    rows = -(-len(tiles) // columns)
    step = SIDE / rows
    pixels = int((step - NUMBER) * DPI) - 2 * GAP
    tile = int(np.clip(min(pixels, SIDE * DPI / columns - GAP), *TILE_PIXELS))
    shrink = min(1.0, tile / max(height, width))
    strips = [
        montage(rgb[first : first + columns], columns, zoom_for(height, width, tile))
        for first in range(0, len(tiles), columns)
    ]
    drawn_height, drawn_width = (side * shrink / DPI for side in strips[0].shape[:2])
    start = LEFT + SIDE + BETWEEN
    step = min(step, drawn_height + NUMBER + 0.05)
    bottom = max(SIDE + BELOW, rows * step + 0.1)
    figure = new_figure(start + drawn_width + 0.12, TITLE + bottom, constrained=False)
    heading(
        figure,
        f"{counted(len(points), 'point')} among {counted(len(codes), 'code')}, and decoded",
        note,
    )
    _scatter(figure, codes, labels, points)
    for row, strip in enumerate(strips):
        placed = place(figure, strip, left=start, top=TITLE + row * step + NUMBER, shrink=shrink)
        _number_tiles(placed, range(row * columns, min((row + 1) * columns, len(tiles))), columns)
    numbers = {"points": points.copy(), "tiles": tiles.copy(), "codes": codes.copy()}
    return Picture(
        "decoded_points", figure, numbers | ({} if labels is None else {"labels": labels.copy()})
    )


def _scatter(figure: Figure, codes: Floats, labels: Integers | None, points: Floats) -> None:
    width, height = figure.get_size_inches()
    box = (LEFT / width, 1 - (TITLE + SIDE) / height, SIDE / width, SIDE / height)
    axes = figure.add_axes(box)
    finite = np.isfinite(codes).all(1)
    draw_codes(axes, codes[finite], None if labels is None else labels[finite], opacity=0.35)
    frame(axes, np.concatenate([codes[finite], points]))
    _number_points(axes, points)


def _number_points(axes: Axes, points: Floats) -> None:
    """Draw black points, each with its number where that covers neither point nor number."""
    from matplotlib.patheffects import withStroke

    axes.scatter(points[:, 0], points[:, 1], s=14, c="black", linewidths=0, zorder=3)
    low = np.array([axes.get_xlim()[0], axes.get_ylim()[0]])
    inches = (points - low) * SIDE / np.ptp(axes.get_xlim())
    taken = [*inches]
    for index, at in enumerate(inches):
        others = np.array([*taken[:index], *taken[index + 1 :], (-9.0, -9.0)])
        room = [np.linalg.norm(others - at - offset, axis=1).min() for offset in PLACES]
        enough = [i for i, distance in enumerate(room) if distance > 0.14]
        dx, dy = PLACES[enough[0] if enough else int(np.argmax(room))]
        taken.append(at + np.array([dx, dy]))
        axes.annotate(
            str(index),
            tuple(points[index]),
            (dx * 72, dy * 72),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=POINTS,
            weight="bold",
            zorder=4,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )


def _number_tiles(axes: Axes, numbers: range, columns: int) -> None:
    """Write the numbers of a row of tiles above it."""
    cell = axes.get_xlim()[1] / columns
    for column, number in enumerate(numbers):
        write_beside(axes, str(number), (cell * (column + 0.5), 0), (0, 1.5), POINTS)
