"""A picture and the numbers behind it, and helpers that all pictures share.

Importing this package does not import matplotlib: that costs half a second, and most commands
draw nothing. Figures are made without ``pyplot``, so that there is no global state, no display is
needed, and an unused figure is freed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

DPI = 150  # pixels per inch of every PNG; the tiles of a montage are laid out for it
COMPRESSION = 1  # faster than the default level, for larger files
TITLE_POINTS = 11.0
TEXT_POINTS = 8.0
NOTE_POINTS = 7.0
FIRST, SECOND = "#1f77b4", "#d95f02"  # blue and orange: told apart by colour-blind readers too
GREY = "0.35"


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with a file stem as its name, and exactly the numbers that it shows."""

    name: str
    figure: Figure
    numbers: dict[str, npt.NDArray[Any]]


def render(picture: Picture) -> bytes:
    """Render a picture as the bytes of a PNG; the same numbers give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    # Matplotlib's savefig would draw a figure that has a layout a second time, to no effect.
    canvas: Any = FigureCanvasAgg(picture.figure)
    layout = picture.figure.get_layout_engine()
    if layout is not None:
        layout.execute(picture.figure)
        picture.figure.set_layout_engine("none")
    canvas.draw()
    # The background is white, so that a fourth channel, opacity, would say nothing.
    size = canvas.get_width_height()
    pixels = Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    buffer = io.BytesIO()
    pixels.convert("RGB").save(buffer, "PNG", dpi=(DPI, DPI), compress_level=COMPRESSION)
    return buffer.getvalue()


def new_figure(width: float, height: float, *, constrained: bool) -> Figure:
    """Make an empty white figure, sizes in inches; ``constrained`` lays out its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained" if constrained else "none")
    FigureCanvasAgg(figure)
    return figure


def heading(figure: Figure, title: str, note: str = "") -> None:
    """Put the title at the top left, where it stays clear of legends at the right.

    A note goes below it in small type; a constrained layout leaves no room for one.
    """
    width, height = figure.get_size_inches()
    left = 0.08 / width
    # A constrained layout makes room for a title only if its height is not given.
    y = 1 - 0.06 / height if figure.get_layout_engine() is None else None
    figure.suptitle(title, x=left, y=y, ha="left", va="top", fontsize=TITLE_POINTS, weight="bold")
    if note:
        top = 1 - 0.29 / height
        figure.text(left, top, note, va="top", fontsize=NOTE_POINTS, color=GREY)


def heading_width(title: str, note: str = "") -> float:
    """The width in inches that a heading needs."""
    return 0.16 + max(text_width(title, TITLE_POINTS), text_width(note, NOTE_POINTS))


def text_width(text: str, points: float) -> float:
    """Estimate the width of a line of text in inches, generously."""
    return 0.62 * points / 72 * len(text)


def shorten(text: str, most: int) -> str:
    """Cut a text to so many letters, the last of which then says that it goes on."""
    return text if len(text) <= most else text[: most - 1] + "…"


def plain_axes(axes: Axes, *, grid: bool) -> None:
    """Hide the upper and right frame, and set small tick labels and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT_POINTS)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color="0.9", linewidth=0.6)


def whole_numbers(axis: Axis) -> None:
    """Put ticks at whole numbers only, for counts."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))


def set_logarithmic(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with small ticks at 2 and 5 times the powers of 10.

    Ticks at every multiple would cost more time than all else in the figure.
    """
    axes.set_yscale("log", subs=(2, 5))
