"""Maps of a sheet of latents: their atoms, and the orientation of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import scale_about_zero, unit_rows
from sae_cli.pictures.latents.topography import (
    Compared,
    neighbour_similarity,
    orientation_smoothness,
    orientations,
    pinwheel_density,
    windings,
)
from sae_cli.pictures.picture import (
    DPI,
    TEXT_POINTS,
    Floats,
    Picture,
    heading,
    heading_width,
    new_figure,
)
from sae_cli.pictures.tiles import GAP, is_image, montage, place, zoom_for
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP_PIXELS = 1000  # width that a topographic map should fill
TITLE, MARGIN = 0.66, 0.08  # inches: above a map, and around it
ORIENTATION_INCHES = 5.0
KEY_INCHES = 1.0  # the key to the colours, at the right of an orientation map
CYCLIC = "hsv"  # both ends are red: angles 0 and pi are the same
RED = "#e00000"
WHITE = (1.0, 1.0, 1.0)


@register(Chapter.LATENTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw both maps where the atoms of a dictionary are images on a sheet of two axes."""
    atoms, shape, sheet = view.dictionary, view.input_shape, view.sheet
    if atoms is None or sheet is None or len(sheet) != 2 or not is_image(shape):
        return
    rows_and_columns = (sheet[0], sheet[1])
    yield topographic_map(atoms, shape, rows_and_columns, wrap=view.wrap)
    yield orientation_map(atoms, shape, rows_and_columns, wrap=view.wrap)


def topographic_map(
    atoms: Floats, image_shape: tuple[int, ...], sheet: tuple[int, int], *, wrap: bool
) -> Picture:
    """Draw ``atoms`` ``(n_latents, n_features)`` in the rows and columns of their sheet.

    Each is divided by its L2 norm; all share one colour scale. Atoms that fill only small windows
    (local fields) are cut to them.

    Numbers: ``atoms``, ``sheet``, ``similarity``, ``similarity_shuffled`` and ``similarity_z``
    (mean ``|cosine|`` of neighbours).

    Raises:
        ValueError: the atoms do not fill the sheet, or are not images.
    """
    _check(atoms, image_shape, sheet)
    alike = neighbour_similarity(atoms, sheet, wrap=wrap)
    tiles = windows(unit_rows(atoms).reshape(-1, *image_shape))
    rgb, _ = scale_about_zero(tiles)
    height, width = tiles.shape[2:]
    tile = max(1, MAP_PIXELS // max(sheet) - GAP)
    shrink = min(1.0, tile / max(height, width))
    pixels = montage(rgb, sheet[1], zoom_for(height, width, tile))
    title = f"Atoms on their sheet of {sheet[0]} x {sheet[1]}{' (a torus)' if wrap else ''}"
    note = f"each divided by its L2 norm; mean |cosine| of neighbours {_describe(alike)}"
    drawn_height, drawn_width = (side * shrink / DPI for side in pixels.shape[:2])
    figure = new_figure(
        max(drawn_width + 2 * MARGIN, heading_width(title, note)),
        TITLE + drawn_height + MARGIN,
        constrained=False,
    )
    heading(figure, title, note)
    place(figure, pixels, left=MARGIN, top=TITLE, shrink=shrink)
    numbers = {"atoms": np.array(atoms), "sheet": np.array(sheet)}
    return Picture("topographic_map", figure, numbers | _numbers("similarity", alike))


def orientation_map(
    atoms: Floats, image_shape: tuple[int, ...], sheet: tuple[int, int], *, wrap: bool
) -> Picture:
    """Draw the orientation of each of ``atoms`` ``(n_latents, n_features)`` on their sheet.

    The hue is the direction of the bars, pale where it is weak; red dots are pinwheel centres,
    around which the angle makes half a turn.

    Numbers: ``angles`` (radians, anticlockwise from horizontal) and ``strengths``
    ``(rows, columns)``, ``windings``, and ``smoothness`` and ``pinwheels`` (the share of 2x2
    squares with one), each also ``_shuffled`` and ``_z``.

    Raises:
        ValueError: the atoms do not fill the sheet, or are not images.
    """
    _check(atoms, image_shape, sheet)
    grey = windows(atoms.reshape(-1, *image_shape)).mean(1)
    angles, strengths = orientations(grey)
    turns = windings(angles.reshape(sheet), wrap=wrap)
    smooth = orientation_smoothness(angles, sheet, wrap=wrap)
    pinwheels = pinwheel_density(angles, sheet, wrap=wrap)
    n_pinwheels = int((turns != 0).sum())
    title = f"Orientation of the atoms; {n_pinwheels} pinwheels"
    notes = (
        f"smoothness (mean cos 2(a-b) of neighbours) {_describe(smooth)}",
        f"pinwheels per 2x2 square {_describe(pinwheels)}",
    )
    side = ORIENTATION_INCHES / max(sheet)
    figure = new_figure(
        max(sheet[1] * side + KEY_INCHES + 0.3, *(heading_width(title, note) for note in notes)),
        sheet[0] * side + TITLE + MARGIN,
        constrained=False,
    )
    heading(figure, title, "\n".join(notes))
    axes = _add_axes(figure, MARGIN, TITLE, sheet[1] * side, sheet[0] * side)
    axes.imshow(_hues(angles, strengths).reshape(*sheet, 3), interpolation="nearest")
    rows, columns = np.nonzero(turns)
    # A dot stands between four places, on a torus perhaps at the edge.
    axes.plot(
        *(columns + 0.5, rows + 0.5),
        *("o",),
        color=RED,
        markersize=float(np.clip(90 * side * 0.35, 2, 8)),
        markeredgecolor="white",
        clip_on=False,
    )
    axes.set_xlim(-0.5, sheet[1] - 0.5)
    axes.set_ylim(sheet[0] - 0.5, -0.5)
    _draw_key(figure, sheet[1] * side + 0.25)
    numbers = {
        "angles": angles.reshape(sheet),
        "strengths": strengths.reshape(sheet),
        "windings": turns,
    }
    numbers |= _numbers("smoothness", smooth) | _numbers("pinwheels", pinwheels)
    return Picture("orientation_map", figure, numbers)


def windows(images: Floats) -> Floats:
    """The smallest windows, all of one size, that hold all nonzero pixels: ``(n, channels, h, w)``.

    They cut out the fields of latents that see a part of the image; whole images stay as they are.
    """
    used = (images != 0).any(1)
    height, width = used.shape[1:]
    boxes = [_box(used.any(2)), _box(used.any(1))]
    h, w = (int((end - start).max(initial=1)) for start, end in boxes)
    top, left = (
        np.minimum(start, side - size)
        for (start, _), side, size in zip(boxes, (height, width), (h, w), strict=True)
    )
    cut = [
        image[:, y : y + h, x : x + w]
        for image, y, x in zip(images, top.tolist(), left.tolist(), strict=True)
    ]
    return np.stack(cut)


def _box(used: Floats) -> tuple[Floats, Floats]:
    """The first true of each row and one past its last; 0 and 0 where there is none."""
    start = used.argmax(1)
    end = np.where(used.any(1), used.shape[1] - used[:, ::-1].argmax(1), 0)
    return start, end


def _hues(angles: Floats, strengths: Floats) -> Floats:
    """RGB ``(n, 3)``: full colour at the strongest, white where there is no direction."""
    from matplotlib import colormaps

    colour = np.asarray(colormaps[CYCLIC](angles / np.pi))[:, :3]
    strongest = strengths.max() or 1.0
    share = (strengths / strongest)[:, None] ** 0.5
    return np.asarray(share * colour + (1 - share) * np.array(WHITE))


def _draw_key(figure: Figure, left: float) -> None:
    """Draw the key to the colours: bars in their own colour at their own angle."""
    from matplotlib import colormaps

    axes = _add_axes(figure, left, TITLE, KEY_INCHES, KEY_INCHES)
    for angle in np.linspace(0, np.pi, 8, endpoint=False):
        x, y = np.cos(angle), np.sin(angle)
        axes.plot([0.3 * x, x], [0.3 * y, y], color=colormaps[CYCLIC](angle / np.pi), linewidth=4)
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim(-1.15, 1.15)
    axes.set_title("direction of bars", fontsize=TEXT_POINTS, y=-0.15)


def _add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes without ticks or frame, placed in inches from the upper left."""
    whole_width, whole_height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            left / whole_width,
            1 - (top + height) / whole_height,
            width / whole_width,
            height / whole_height,
        )
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes


def _check(atoms: Floats, image_shape: tuple[int, ...], sheet: tuple[int, int]) -> None:
    needed = (math.prod(sheet), math.prod(image_shape))
    if not is_image(image_shape) or atoms.shape != needed:
        raise ValueError(
            f"atoms have shape {atoms.shape}; needed: {needed}, images of {image_shape} (one or "
            f"three channels) on a sheet of {sheet}"
        )


def _describe(compared: Compared) -> str:
    return f"{compared.value:.3f}; shuffled {compared.shuffled:.3f} (z = {compared.z:.1f})"


def _numbers(name: str, compared: Compared) -> dict[str, Floats]:
    return {
        name: np.array(compared.value),
        f"{name}_shuffled": np.array(compared.shuffled),
        f"{name}_z": np.array(compared.z),
    }
