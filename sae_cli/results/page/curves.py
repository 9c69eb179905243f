"""Curves of metrics over epochs, as the plain values that charts are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from sae_cli.results.page.shown_run import ShownRun

# Numbers of digits that a chart can show.
DIGITS = 5
# The curves of many runs together have no more values than this, about 3 MB of a page.
MOST_VALUES = 400_000
FEWEST_POINTS = 8
# The ratio of the largest to the smallest loss or error above which a scale is logarithmic.
LOG_FROM = 10.0
# Metrics whose aim a setting states.
AIMS = {"mean_activity": "penalty.target", "l0": "penalty.target_l0"}
LINEAR = ("l0", "mean_activity", "dead_latents", "accuracy", "rounded_accuracy")
LABELS = {"train": "train", "val": "validation"}
# These come first, in this order; the others follow as the run has them.
FIRST = ("loss", "reconstruction", "penalty", "fvu", "mse", "l0", "mean_activity", "dead_latents")

Points = list[list[float | None]]


def curves_of(run: ShownRun) -> list[dict[str, Any]]:
    """Give a chart for each metric, with a curve for each split that it was measured on.

    Returns:
        ``name``, ``log`` (whether the scale is), ``target`` (or None) and ``curves``: ``label`` and
        ``points`` (epoch, value), in which (None, None) parts two stages.
    """
    keys = dict.fromkeys(key for line in run.lines for key in line)
    names = dict.fromkeys(key.partition("/")[2] for key in keys if key.partition("/")[0] in LABELS)
    ordered = [name for name in FIRST if name in names]
    ordered += [name for name in names if name not in FIRST]
    return [_chart(run, name) for name in ordered if name]


def _chart(run: ShownRun, name: str) -> dict[str, Any]:
    curves = {split: _points(run.lines, f"{split}/{name}") for split in LABELS}
    values = [y for points in curves.values() for _, y in points if y is not None]
    target = run.number(AIMS[name]) if name in AIMS else None
    log = name not in LINEAR and min(values) > 0 and max(values) > LOG_FROM * min(values)
    shown = [{"label": LABELS[split], "points": curves[split]} for split in curves if curves[split]]
    return {"name": name, "log": log, "target": target, "curves": shown}


def _points(lines: Sequence[Mapping[str, Any]], key: str) -> Points:
    measured = [line for line in lines if key in line]
    points: Points = []
    for before, line in pairwise([None, *measured]):
        assert line is not None
        if before is not None and before["stage"] != line["stage"]:
            points.append([None, None])
        points.append([_epoch(line, len(points)), _shortened(line[key])])
    return points


def _epoch(line: Mapping[str, Any], otherwise: int) -> float:
    return float(line.get("epoch", otherwise))


def _shortened(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def thinned_curves(runs: Sequence[ShownRun]) -> tuple[list[dict[str, Any]], int | None]:
    """Give the curves of every metric of each run, of few points where the runs are many.

    Returns:
        for each run ``epochs`` and ``values`` (metric -> a value or None for each epoch); and the
        number of points that longer curves are thinned to, None where none is.
    """
    n_metrics = max((len(line) for run in runs for line in run.lines[-1:]), default=1)
    most = max(FEWEST_POINTS, MOST_VALUES // (n_metrics * len(runs)))
    longest = max((len(run.lines) for run in runs), default=0)
    return [_thinned(run.lines, most) for run in runs], most if longest > most else None


def _thinned(lines: Sequence[Mapping[str, Any]], most: int) -> dict[str, Any]:
    if len(lines) > most:
        # The first and the last are kept.
        lines = [lines[round(i * (len(lines) - 1) / (most - 1))] for i in range(most)]
    keys = dict.fromkeys(key for line in lines for key in line if "/" in key)
    values = {
        key: [_shortened(line[key]) if key in line else None for line in lines] for key in keys
    }
    return {"epochs": [_epoch(line, i) for i, line in enumerate(lines)], "values": values}
