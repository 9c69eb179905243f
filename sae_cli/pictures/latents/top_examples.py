"""The examples that excite single latents most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.colours import atom_colours, grey_scale
from sae_cli.pictures.picture import (
    DPI,
    GREY,
    Floats,
    Integers,
    Picture,
    heading,
    heading_width,
    new_figure,
    text_width,
)
from sae_cli.pictures.tiles import GAP, is_image, montage, place, zoom_for
from sae_cli.pictures.view import Excited, View, by_activity, some_inactive

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ACTIVE, MIDDLE = 5, 3  # how many latents of either kind are shown
N_EXAMPLES = 8
TITLE, LABELS, RIGHT = 0.56, 1.3, 0.12  # inches around the table
TILE_PIXELS = 96  # of a cell
BESIDE = 16  # pixels between an atom and the images
VALUE = 0.17  # inches: below a row of images, for the codes
CLEAR = 4  # pixels between an image and its code
ROW = 0.42  # inches: of a row of text
POINTS = 7.0
LONGEST_PART = 22  # letters


@register(Chapter.LATENTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw them for the most active latents, and for some that fire about as often as most do."""
    latents = choose_latents(by_activity(view), int((view.firing[0] > 0).sum()))
    if not len(latents):
        return
    image = is_image(view.input_shape)
    yield top_examples(
        view.excited(latents, N_EXAMPLES),
        latents,
        atoms=view.atoms(latents) if view.decoder_trained and image else None,
        firing=view.firing[0][latents] / view.firing[1] if some_inactive(view) else None,
    )


def choose_latents(order: Integers, n_alive: int) -> Integers:
    """Choose the first latents of an order, and some from the middle of those that are alive."""
    alive = order[:n_alive]
    if n_alive <= MOST_ACTIVE + MIDDLE:
        return alive
    middle = max(MOST_ACTIVE, (n_alive - MIDDLE) // 2)
    return np.concatenate([alive[:MOST_ACTIVE], alive[middle : middle + MIDDLE]])


def top_examples(
    found: Excited,
    latents: Integers,
    *,
    firing: Floats | None = None,
    atoms: Floats | None = None,
) -> Picture:
    """Draw a row for each of ``latents`` ``(m,)``: the examples with the highest codes, in order.

    Images stand beside the latent's atom, with the code below each. Other examples are named by
    their row, and by the part of the data that holds it.

    Args:
        firing: ``(m,)``, the share of examples that activate each latent; None where all codes
            count as active.
        atoms: ``(m, n_features)``, of images.

    Numbers: ``latents``, ``values``, ``rows`` and ``parts`` ``(m, n)``, ``firing`` and ``atoms``
    if given, and, of images, ``x`` ``(m, n, *input_shape)``.

    Raises:
        ValueError: arrays whose shapes do not fit.
    """
    values, rows, parts, x = found
    if not len(latents) or {len(values), len(rows), len(parts), len(x)} != {len(latents)}:
        raise ValueError(f"{len(latents)} latents, values of shape {values.shape}; needed: one row")
    title = f"Examples of the validation set with the highest codes of {len(latents)} latents"
    title = title if len(latents) > 1 else title.removesuffix("s")
    names = [f"latent {latent}" for latent in latents]
    numbers: dict[str, npt.NDArray[np.generic]] = {
        **{"latents": np.array(latents), "values": np.array(values)},
        **{"rows": np.array(rows), "parts": np.array(parts)},
    }
    if firing is not None:
        names = [
            f"{name}\nactive on {share:.1%}" for name, share in zip(names, firing, strict=True)
        ]
        numbers["firing"] = np.array(firing)
    if is_image(x.shape[2:]):
        figure = _draw_images(title, names, values, x, atoms)
        numbers["x"] = np.array(x)
        numbers |= {} if atoms is None else {"atoms": np.array(atoms)}
    else:
        figure = _draw_table(title, names, found)
    return Picture("top_examples", figure, numbers)


def _draw_images(
    title: str, names: list[str], values: Floats, x: Floats, atoms: Floats | None
) -> Figure:
    m, n, *shape = x.shape
    height, width = shape[1:]
    rgb, note = grey_scale(x.reshape(m * n, -1), tuple(shape))
    zoom = zoom_for(height, width, TILE_PIXELS)
    shrink = min(1.0, TILE_PIXELS / max(height, width))
    strips = [montage(rgb[row * n : (row + 1) * n], n, zoom) for row in range(m)]
    if atoms is not None:
        drawn = atom_colours(atoms, tuple(shape))
        strips = [
            np.concatenate([montage(drawn[[row]], 1, zoom), _white(strip, width=BESIDE), strip], 1)
            for row, strip in enumerate(strips)
        ]
    # One array for all rows, because each axes of its own would cost as much as the whole array.
    below = round(VALUE * DPI / shrink)
    pixels = np.concatenate(
        [part for strip in strips for part in (strip, _white(strip, height=below))]
    )
    tall, wide = (side * shrink / DPI for side in strips[0].shape[:2])
    note = f"below each image: the code; {note}"
    note = note if atoms is None else f"atom, and images; {note}"
    figure = new_figure(
        max(LABELS + wide + RIGHT, heading_width(title, note)),
        TITLE + pixels.shape[0] * shrink / DPI + 0.04,
        constrained=False,
    )
    heading(figure, title, note)
    axes = place(figure, pixels, left=LABELS, top=TITLE, shrink=shrink)
    cell = width * zoom + GAP
    for row, codes in enumerate(values):
        bottom = (row + 1) * strips[0].shape[0] + row * below
        centres = pixels.shape[1] - (n - np.arange(n) - 0.5) * cell
        _write_codes(axes, codes, bottom + CLEAR / shrink, centres)
        middle = TITLE + bottom * shrink / DPI - tall / 2
        _write(figure, 0.1, middle, names[row], points=8.0)
    return figure


def _white(
    strip: npt.NDArray[np.uint8], *, width: int | None = None, height: int | None = None
) -> npt.NDArray[np.uint8]:
    """Make an empty part beside or below a strip ``(height, width, 3)``."""
    size = (height or strip.shape[0], width or strip.shape[1], 3)
    return np.full(size, 255, np.uint8)


def _write_codes(axes: Axes, codes: Floats, bottom: float, across: Floats) -> None:
    for code, x in zip(codes, across, strict=True):
        axes.text(x, bottom, f"{code:.3g}", ha="center", va="top", fontsize=POINTS, color=GREY)


def _draw_table(title: str, names: list[str], found: Excited) -> Figure:
    """Write the code and the place of each example, one line for each."""
    texts = [
        [
            f"{value:.3g}\n{_place(str(part), int(row))}"
            for value, part, row in zip(*line, strict=True)
        ]
        for line in zip(found.values, found.parts, found.rows, strict=True)
    ]
    longest = max(len(line) for row in texts for text in row for line in text.split("\n"))
    cell = max(0.6, text_width("m" * longest, POINTS) + 0.12)
    columns = max(1, min(len(texts[0]), math.floor(10.5 / cell)))
    note = "in each cell: the code, and the row of the example in the data"
    full = LABELS + columns * cell + RIGHT
    figure = new_figure(
        max(full, heading_width(title, note)), TITLE + len(names) * ROW + 0.1, constrained=False
    )
    heading(figure, title, note)
    for row, (name, cells) in enumerate(zip(names, texts, strict=True)):
        middle = TITLE + (row + 0.5) * ROW
        _write(figure, 0.1, middle, name, points=8.0)
        for column, text in enumerate(cells[:columns]):
            _write(figure, LABELS + column * cell, middle, text, points=POINTS)
    return figure


def _place(part: str, row: int) -> str:
    if not part:
        return f"row {row}"
    name = PurePath(part).name
    return f"{name if len(name) <= LONGEST_PART else '…' + name[1 - LONGEST_PART :]}: {row}"


def _write(figure: Figure, left: float, top: float, text: str, *, points: float) -> None:
    """Write lines of text, the place of their middle in inches from the upper left."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va="center", fontsize=points)
