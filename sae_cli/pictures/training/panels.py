"""Panels of values over the epochs, one below the other, in which stages follow each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.column import place_column
from sae_cli.pictures.picture import (
    FIRST,
    GREY,
    SECOND,
    TEXT_POINTS,
    heading,
    new_figure,
    plain_axes,
    shorten,
    text_width,
    whole_numbers,
)
from sae_cli.pictures.training.scale import choose_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, PANEL = 7.2, 1.75  # inches: the figure's width and a panel's height
PARTS: dict[str, dict[str, Any]] = {
    # The train curve is broad and pale, so that it shows where the two coincide.
    "train": {"color": FIRST, "marker": "o", "linewidth": 2.6, "alpha": 0.5},
    "val": {"color": SECOND, "marker": "s", "linewidth": 1.1},
}
LONGEST_NAME = 20  # letters of a stage's name

Numbers = dict[str, npt.NDArray[Any]]


def collect(
    lines: Sequence[Mapping[str, Any]], names: Sequence[str], parts: Sequence[str] = tuple(PARTS)
) -> Numbers:
    """Gather ``epoch`` and ``stage`` ``(n_lines,)`` and each ``PART/NAME``, NaN where a line lacks
    it.

    Args:
        lines: those of ``metrics.jsonl``.
    """
    numbers: Numbers = {
        "epoch": np.array([line["epoch"] for line in lines], dtype=np.int64),
        "stage": np.array([line["stage"] for line in lines], dtype=np.str_),
    }
    for key in (f"{part}/{name}" for name in names for part in parts):
        # JSON has no NaN, so a diverged value may be null.
        values = [np.nan if line.get(key) is None else line[key] for line in lines]
        numbers[key] = np.array(values, dtype=np.float64)
    return numbers


def draw_panels(
    title: str,
    names: Mapping[str, str],
    numbers: Numbers,
    *,
    targets: Mapping[str, float] | None = None,
) -> Figure:
    """Draw a panel for each name.

    Each stage has an objective of its own, so no line leads from one stage to the next. Where the
    values before training would flatten all others, the axis ends below them, and a mark says how
    far they lie beyond.

    Args:
        names: the label of the axis for each name.
        numbers: of ``collect``.
        targets: a dashed line in the panels of these names.
    """
    stages = find_stages(numbers["stage"])
    # How much room slanted names of stages take is left to a constrained layout.
    constrained = len(stages) > 1
    figure = new_figure(WIDTH, 0.8 + PANEL * len(names), constrained=constrained)
    heading(figure, title)
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        target = None if targets is None else targets.get(name)
        draw_panel(axes, name, numbers, stages, target=target)
        axes.set_ylabel(names[name], fontsize=9)
    label_epochs(panels[-1], numbers["epoch"])
    _name_stages(panels[0], numbers, stages)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper right",
        ncols=len(labels),
        fontsize=TEXT_POINTS,
        frameon=False,
        borderaxespad=0.2,
    )
    if not constrained:
        place_column(figure, above=0.36)
    return figure


def find_stages(names: npt.NDArray[np.str_]) -> list[slice]:
    """Slices of successive lines with the same stage name."""
    runs, start = [], 0
    for _, run in groupby(names):
        stop = start + len(list(run))
        runs.append(slice(start, stop))
        start = stop
    return runs


def draw_panel(
    axes: Axes,
    name: str,
    numbers: Numbers,
    stages: Sequence[slice],
    *,
    target: float | None = None,
) -> None:
    """Draw the values of one name; ``numbers`` are those of ``collect``."""
    plain_axes(axes, grid=True)
    # Markers make single points visible; among many they shrink to the width of the line.
    size = float(np.clip(90 / max(1, len(numbers["epoch"])), 1.2, 4.0))
    parts = [part for part in PARTS if f"{part}/{name}" in numbers]
    for part in parts:
        for index, stage in enumerate(stages):
            axes.plot(
                numbers["epoch"][stage],
                numbers[f"{part}/{name}"][stage],
                markersize=size,
                label=part if index == 0 else None,
                **PARTS[part],
            )
    for stage in stages[1:]:
        axes.axvline(numbers["epoch"][stage][0], color="0.6", linewidth=0.8, zorder=0.5)
    if target is not None:
        label = f"target {target:g}"
        axes.axhline(target, color="0.15", linestyle="--", linewidth=1.2, label=label)
    starts = np.array([stage.start for stage in stages], np.int64)
    values = np.array([numbers[f"{part}/{name}"] for part in parts])
    choose_scale(axes, numbers["epoch"], values, starts, target)


def label_epochs(axes: Axes, epoch: npt.NDArray[np.int64]) -> None:
    """Put whole epochs on the axis that all panels share."""
    axes.set_xlabel("epoch", fontsize=9)
    if not epoch.size:
        axes.set_xticks([])
        return
    span = float(np.ptp(epoch))
    if span:
        whole_numbers(axes.xaxis)
    else:
        axes.set_xticks([int(epoch[0])])
    margin = 0.02 * span or 0.5
    axes.set_xlim(epoch.min() - margin, epoch.max() + margin)


def _name_stages(axes: Axes, numbers: dict[str, npt.NDArray[Any]], stages: list[slice]) -> None:
    """Write the stages' names above the top panel, slanted where they are wider than the stage."""
    if len(stages) < 2:
        return
    epoch = numbers["epoch"]
    starts = [int(epoch[stage][0]) for stage in stages]
    stops = [*starts[1:], int(epoch[-1])]
    names = [shorten(str(numbers["stage"][stage][0]), LONGEST_NAME) for stage in stages]
    inches = (WIDTH - 1.0) / max(1, int(np.ptp(epoch)))
    slanted = any(
        text_width(name, TEXT_POINTS) > (stop - start) * inches
        for name, start, stop in zip(names, starts, stops, strict=True)
    )
    top = axes.secondary_xaxis("top")
    top.set_xticks([(start + stop) / 2 for start, stop in zip(starts, stops, strict=True)], names)
    top.tick_params(length=0, labelsize=TEXT_POINTS, labelcolor=GREY, pad=2)
    top.spines[:].set_visible(False)
    for label in top.get_xticklabels() if slanted else []:
        label.set(rotation=40, ha="left", rotation_mode="anchor", fontsize=7)
