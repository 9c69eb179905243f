"""Two-dimensional codes as points, coloured by label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.column import place_column
from sae_cli.pictures.picture import (
    FIRST,
    TEXT_POINTS,
    Floats,
    Integers,
    Picture,
    heading,
    new_figure,
    plain_axes,
    shorten,
    text_width,
)
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's "muted" set, made for colour-blind readers, and a grey for the tenth.
CLASSES = (
    *("#332288", "#88ccee", "#44aa99", "#117733", "#999933"),
    *("#ddcc77", "#cc6677", "#882255", "#aa4499", "#7f7f7f"),
)
MARKERS = "o^sDv"  # the second ten classes are triangles, and so on
NAMED = 50  # the most classes that a legend names
SIDE = 5.2  # inches: the square of the points
LONGEST_NAME = 16  # letters of a class's name
PLANE = ("latent 0", "latent 1")


@register(Chapter.CODES)
def draw(view: View) -> Iterator[Picture]:
    """Draw the codes where two latents make a plane."""
    if view.decoder_trained and view.n_latents == 2:
        yield code_scatter(view.codes, view.labels, view.class_names)


def code_scatter(
    codes: Floats,
    labels: Integers | None = None,
    class_names: Sequence[str] | None = None,
) -> Picture:
    """Draw ``codes`` ``(n, 2)``, one point each, in the colours of ``labels`` ``(n,)``.

    Both axes have the same scale. Up to ten classes are also named at the median of their codes,
    because not every reader can tell ten colours apart. Codes that are not finite are left out,
    and the title says so.

    Numbers: ``codes`` and, if given, ``labels``.

    Raises:
        ValueError: no code, or shapes that do not fit.
    """
    figure = scatter(
        codes,
        labels,
        title=f"Codes of {counted(len(codes), 'example')}",
        axis_names=PLANE,
        class_names=class_names,
    )
    numbers: dict[str, npt.NDArray[Any]] = {"codes": codes.copy()}
    return Picture(
        "code_scatter", figure, numbers | ({} if labels is None else {"labels": labels.copy()})
    )


def scatter(
    points: Floats,
    labels: Integers | None,
    *,
    title: str,
    axis_names: Sequence[str],
    class_names: Sequence[str] | None,
) -> Figure:
    """Draw ``points`` ``(n, 2)`` as :func:`code_scatter` does.

    Args:
        class_names: one for each class, in place of its number.

    Raises:
        ValueError: no point, or shapes that do not fit.
    """
    check_codes(points, labels)
    finite = np.isfinite(points).all(1)
    left_out = "" if finite.all() else f", {(~finite).sum():,} not finite"
    found = [] if labels is None else [int(label) for label in np.unique(labels)]
    names = {label: _name(label, class_names) for label in found}
    legend = 0.0
    if 0 < len(names) <= NAMED:
        widest = text_width("m" * max(map(len, names.values())), TEXT_POINTS)
        legend = (0.46 + widest) * -(-len(names) // 20) + 0.1
    figure = new_figure(SIDE + 0.7 + legend, SIDE + 0.85, constrained=False)
    heading(figure, title + left_out)
    axes = figure.subplots()
    shown = None if labels is None else labels[finite]
    draw_codes(axes, points[finite], shown, opacity=0.75)
    frame(axes, points[finite], axis_names)
    if shown is not None and len(names) <= len(CLASSES):
        _name_classes(axes, points[finite], shown, names)
    if legend:
        _draw_legend(axes, list(names.values()))
    place_column(figure, above=0.36, right=legend or 0.15)
    return figure


def _name(label: int, class_names: Sequence[str] | None) -> str:
    if class_names is None or not 0 <= label < len(class_names):
        return str(label)
    return shorten(class_names[label], LONGEST_NAME)


def check_codes(codes: Floats, labels: Integers | None) -> None:
    """Raise ValueError unless there are codes ``(n, 2)`` and, if any, labels ``(n,)``."""
    if codes.ndim != 2 or codes.shape[1] != 2 or not len(codes):
        raise ValueError(f"codes have shape {codes.shape}; needed: (n, 2), at least 1 code")
    if labels is not None and labels.shape != (len(codes),):
        raise ValueError(f"labels have shape {labels.shape}; needed: ({len(codes)},)")


def draw_codes(axes: Axes, codes: Floats, labels: Integers | None, *, opacity: float) -> None:
    """Put the points on the axes in the given order, so that no class covers all others."""
    size = float(np.clip(12_000 / max(1, len(codes)), 3, 24))
    if labels is None:
        axes.scatter(codes[:, 0], codes[:, 1], s=size, c=FIRST, alpha=opacity, linewidths=0)
        return
    _, index = np.unique(labels, return_inverse=True)
    # All remaining classes share the last marker.
    tens = np.minimum(index // len(CLASSES), len(MARKERS) - 1)
    colours = np.array([CLASSES[i % len(CLASSES)] for i in index])
    for number, marker in enumerate(MARKERS):
        chosen = tens == number
        if chosen.any():
            axes.scatter(
                codes[chosen, 0],
                codes[chosen, 1],
                s=size,
                c=colours[chosen],
                alpha=opacity,
                linewidths=0,
                marker=marker,
            )


def frame(axes: Axes, points: Floats, names: Sequence[str] = PLANE) -> None:
    """Name the axes, and set them to a square around all points ``(n, 2)``, of one scale."""
    low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(2), np.ones(2))
    middle = (low.astype(np.float64) + high) / 2
    half = 0.54 * float((high.astype(np.float64) - low).max()) or 0.5
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")
    plain_axes(axes, grid=True)
    for axis, label in zip((axes.xaxis, axes.yaxis), names, strict=True):
        axis.set_major_formatter("{x:g}")
        axis.set_label_text(label, fontsize=9)


def _name_classes(axes: Axes, codes: Floats, labels: Integers, names: Mapping[int, str]) -> None:
    """Write the name of each class at the median of its codes, words below each other."""
    from matplotlib.patheffects import withStroke

    words = max(map(len, names.values())) > 3
    points = 8.0 if words else 10.0
    found = {label: np.median(codes[labels == label], axis=0) for label in np.unique(labels)}
    inches = float(np.ptp(axes.get_ylim())) / SIDE
    high = 1.3 * points / 72
    taken: list[tuple[float, float, float]] = []
    for label, (x, y) in sorted(found.items(), key=lambda entry: -entry[1][1]):
        half = text_width(names[int(label)], points) / 2
        down = y / inches
        # From above to below, so that a name only moves into what is still free.
        for left, right, height in taken if words else []:
            if left < x / inches + half and x / inches - half < right and abs(height - down) < high:
                down = height - high
        taken.append((x / inches - half, x / inches + half, down))
        axes.text(
            x,
            down * inches,
            names[int(label)],
            ha="center",
            va="center",
            fontsize=points,
            weight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _draw_legend(axes: Axes, names: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=MARKERS[min(i // len(CLASSES), len(MARKERS) - 1)],
            markersize=5.5,
            color=CLASSES[i % len(CLASSES)],
            label=name,
        )
        for i, name in enumerate(names)
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        ncols=-(-len(names) // 20),
        columnspacing=0.8,
        handletextpad=0.1,
        borderaxespad=0.2,
        frameon=False,
        fontsize=TEXT_POINTS,
    )
