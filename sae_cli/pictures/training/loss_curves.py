"""Loss curves: every weighted term of the objective over the epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import (
    FIRST,
    GREY,
    SECOND,
    TEXT_POINTS,
    Picture,
    heading,
    new_figure,
    plain_axes,
    text_width,
    whole_numbers,
)
from sae_cli.pictures.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, PANEL = 7.2, 1.75  # inches: the figure's width and a panel's height
PARTS: dict[str, dict[str, Any]] = {
    # The train curve is broad and pale, so that it shows where the two coincide.
    "train": {"color": FIRST, "marker": "o", "linewidth": 2.6, "alpha": 0.5},
    "val": {"color": SECOND, "marker": "s", "linewidth": 1.1},
}
LOG_FROM = 30  # ratio of largest to smallest value above which a panel's scale is logarithmic
LONGEST_NAME = 20  # letters of a stage's name


@register(Chapter.TRAINING)
def draw(view: View) -> Iterator[Picture]:
    """Draw the loss of every run, and its terms where there is more than one."""
    yield loss_curves(view.lines, terms=view.terms if len(view.terms) > 2 else [])


def loss_curves(lines: Sequence[Mapping[str, Any]], *, terms: Sequence[str]) -> Picture:
    """Draw one panel for ``loss`` and one for each of ``terms``, over the epochs.

    ``lines`` are those of ``metrics.jsonl``: ``stage``, ``epoch`` (counted through all stages) and
    ``train/TERM``, ``val/TERM`` where they were measured. Each stage has an objective of its own,
    so no line leads from one stage to the next.

    Numbers: ``epoch`` and ``stage`` ``(n_lines,)`` and each drawn key, NaN where a line lacks it.
    """
    names = list(dict.fromkeys(["loss", *terms]))
    numbers: dict[str, npt.NDArray[Any]] = {
        "epoch": np.array([line["epoch"] for line in lines], dtype=np.int64),
        "stage": np.array([line["stage"] for line in lines], dtype=np.str_),
    }
    for key in (f"{part}/{name}" for name in names for part in PARTS):
        # JSON has no NaN, so a diverged value may be null.
        values = [np.nan if line.get(key) is None else line[key] for line in lines]
        numbers[key] = np.array(values, dtype=np.float64)
    figure = new_figure(WIDTH, 0.8 + PANEL * len(names), constrained=True)
    heading(figure, "Loss by epoch" if len(names) == 1 else "Loss and its weighted terms by epoch")
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    stages = _stages(numbers["stage"])
    for axes, name in zip(panels, names, strict=True):
        _draw_panel(axes, name, numbers, stages)
    _label_epochs(panels[-1], numbers["epoch"])
    _name_stages(panels[0], numbers, stages)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="upper right",
        ncols=2,
        fontsize=TEXT_POINTS,
        frameon=False,
        borderaxespad=0.2,
    )
    return Picture("loss_curves", figure, numbers)


def _stages(names: npt.NDArray[np.str_]) -> list[slice]:
    """Slices of successive lines with the same stage name."""
    runs, start = [], 0
    for _, run in groupby(names):
        stop = start + len(list(run))
        runs.append(slice(start, stop))
        start = stop
    return runs


def _draw_panel(
    axes: Axes, name: str, numbers: dict[str, npt.NDArray[Any]], stages: list[slice]
) -> None:
    """Draw one term; ``numbers`` are those of the picture."""
    plain_axes(axes, grid=True)
    axes.set_ylabel(name, fontsize=9)
    # Markers make single points visible; among many they shrink to the width of the line.
    size = float(np.clip(90 / max(1, len(numbers["epoch"])), 1.2, 4.0))
    for part, style in PARTS.items():
        for index, stage in enumerate(stages):
            epoch, values = numbers["epoch"][stage], numbers[f"{part}/{name}"][stage]
            axes.plot(
                epoch,
                values,
                markersize=size,
                label=part if index == 0 else None,
                **style,
            )
    for stage in stages[1:]:
        axes.axvline(numbers["epoch"][stage][0], color="0.6", linewidth=0.8, zorder=0.5)
    both = np.concatenate([numbers[f"{part}/{name}"] for part in PARTS])
    both = both[np.isfinite(both)]
    if not both.size:
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", color=GREY)
        axes.set_yticks([])
    elif both.min() > 0 and both.max() > LOG_FROM * both.min():
        axes.set_yscale("log")
    else:
        axes.yaxis.set_major_formatter("{x:g}")  # no offset or power of ten above the axis


def _label_epochs(axes: Axes, epoch: npt.NDArray[np.int64]) -> None:
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
    names = [_shorten(str(numbers["stage"][stage][0])) for stage in stages]
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


def _shorten(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
