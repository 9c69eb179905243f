"""The table that a sweep ends with: what varies, and the metrics that can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sae_cli.config.settings import AUTO
from sae_cli.core.text import ABSENT, number
from sae_cli.results.fair import QUALITY, Fair, dead, is_trade_off, sparsity
from sae_cli.results.front import pareto_front
from sae_cli.results.notes import undefined_notes
from sae_cli.results.tables import Column, fitted, wrapped
from sae_cli.runs.sweeps.lines import Line, lines_of
from sae_cli.runs.sweeps.objectives import best_first
from sae_cli.runs.sweeps.results import RESULTS
from sae_cli.runs.sweeps.sweep import Sweep
from sae_cli.training.better import higher_is_better

LOSS, ACCURACY, TARGET = "val/loss", "val/accuracy", "penalty.target"
# Losses are of one kind where these parts are the same, but for an option of none.
OF_THE_LOSS = ("penalty", "reconstruction", "head", "inference")
FRONT, NOT_FRONT = "*", ""
# Of the columns that do not fit, those of the highest rank are hidden.
RANKS = {TARGET: 4, ACCURACY: 3, LOSS: 5, "val/dead_latents": 6}
OF_STATUS, OF_KEYS, OF_FRONT, OF_SPARSITY, OF_SEEDS = 1, 1, 2, 2, 4


def results_table(
    sweep: Sweep, rows: Sequence[Mapping[str, Any]], varied: Sequence[str], width: int | None
) -> list[str]:
    """Show what varies between the jobs, their status and the metrics that matter for their models.

    Jobs that differ in nothing but the seed share a line. Metrics that cannot be compared stand in
    columns of their own.

    Args:
        rows: as ``write_results`` gives them.
        varied: the keys whose overrides differ between the jobs.
        width: of the terminal; None shows every column.
    """
    lines, keys = lines_of(sweep, rows, varied)
    gathered = len(lines) < len(rows)
    sort_by = sweep.sort_by
    marks: list[str] | None = None
    if sort_by == AUTO and sweep.objectives:
        lines, on_front = best_first(lines, sweep.objectives)
        marks = [FRONT if on else NOT_FRONT for on in on_front]
        names = " and ".join(sweep.objectives)
        order = f"front ({FRONT}) first, then by {sweep.objectives[0]}: no other job is as good in "
        order += f"{names}; sort_by=METRIC sorts by one"
    elif sort_by == AUTO and is_trade_off(keys):
        lines, on_front = _front_first(lines)
        marks = [FRONT if on else NOT_FRONT for on in on_front]
        order = _order_of_front(lines)
    else:
        metric = sweep.metric
        sign = -1.0 if higher_is_better(metric) else 1.0
        lines = sorted(lines, key=lambda line: _rank(line.mean(metric), sign))
        order = f"best first by {metric}"
    if gathered:
        order += "; mean +- standard deviation over seeds"
    columns = [
        Column("job", [line.numbers for line in lines], left=True),
        *(Column(key, _settings(lines, key), OF_KEYS) for key in keys),
    ]
    if gathered:
        columns.append(Column("seeds", [str(len(line.finished)) for line in lines], OF_SEEDS))
    columns.append(Column("status", [line.status for line in lines], OF_STATUS))
    if marks:
        columns.append(Column("front", marks, OF_FRONT))
    columns += _of_metrics(lines, keys, sweep.objectives if sort_by == AUTO else [sort_by])
    shown = fitted(columns, width, f"{RESULTS} has all")
    return ["", *wrapped(order, width), *shown, *_notes(lines, sort_by)]


def _settings(lines: Sequence[Line], key: str) -> list[str]:
    return [number(line.rows[0].get(key)) for line in lines]


def _front_first(lines: Sequence[Line]) -> tuple[list[Line], list[bool]]:
    """Sort lines: those on the front first, the sparsest of them first, then by quality."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault(_comparable(line), []).append(line)
    ranked = []
    for kind, group in enumerate(groups.values()):
        points = [_point(line) for line in group]
        for line, point, on in zip(group, points, pareto_front(points), strict=True):
            quality = line.mean(QUALITY)
            by_quality = (quality is None, quality or 0.0)
            rank = (not on, (kind, point[0]) if on and point else by_quality)
            ranked.append((rank, on, line))
    ranked.sort(key=lambda one: one[0])
    return [line for _, _, line in ranked], [on for _, on, _ in ranked]


def _comparable(line: Line) -> tuple[str, str]:
    """Say what two lines must share to be on one front."""
    fair = sparsity(line.config.parts, line.active_above)
    data = json.dumps(line.config.parts["dataset"], default=str, sort_keys=True)
    return (fair.label if fair else ""), data


def _point(line: Line) -> tuple[float, float] | None:
    fair = sparsity(line.config.parts, line.active_above)
    first = None if fair is None else line.mean(fair.metric)
    second = line.mean(QUALITY)
    return None if first is None or second is None else (first, second)


def _order_of_front(lines: Sequence[Line]) -> str:
    found = [sparsity(line.config.parts, line.active_above) for line in lines]
    names = dict.fromkeys(fair.label for fair in found if fair is not None)
    if len(names) == 1:
        beaten = f"no other job is as low in both {next(iter(names))} and {QUALITY}"
    else:
        beaten = f"of those with one measure of sparsity no other is as low in it and in {QUALITY}"
    order = f"front ({FRONT}) first, its sparsest on top, then by {QUALITY}"
    return f"{order}: {beaten}; sort_by=METRIC sorts by one"


def _rank(value: float | None, sign: float) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else sign * value)


def _of_metrics(lines: Sequence[Line], keys: Sequence[str], sort_by: Sequence[str]) -> list[Column]:
    """Choose the columns of metrics, each of which some line has; those sorted by come first."""
    own = [_own(line) for line in lines]
    with_condition = {fair.metric for of_line in own for fair in of_line}
    fairs = dict.fromkeys(Fair(name) for name in sort_by if name not in with_condition)
    if _losses_are_of_one_kind(lines, keys):
        fairs[Fair(LOSS)] = None
    fairs[Fair(QUALITY)] = None
    for of_line in own:
        fairs |= dict.fromkeys(of_line)
    if any(line.values(ACCURACY) for line in lines):
        fairs[Fair(ACCURACY)] = None
    general = {Fair(LOSS), Fair(QUALITY), Fair(ACCURACY), *map(Fair, sort_by)}
    columns = []
    for fair in fairs:
        cells = [
            line.cell(fair.metric) if fair in general or fair in of_line else ABSENT
            for line, of_line in zip(lines, own, strict=True)
        ]
        rank = 0 if fair in {Fair(QUALITY), *map(Fair, sort_by)} else OF_SPARSITY
        rank = RANKS.get(fair.metric, rank) if rank else rank
        columns.append(Column(fair.metric, cells, rank, condition=fair.condition))
        activity = fair.metric == "val/mean_activity"
        targets = [_target(line) or ABSENT for line in lines]
        if activity and TARGET not in keys and {*targets} != {ABSENT}:
            columns.append(Column(TARGET, targets, RANKS[TARGET]))
    return columns


def _own(line: Line) -> list[Fair]:
    """Choose the metrics that matter for a line's model."""
    parts, above = line.config.parts, line.active_above
    return [fair for fair in (sparsity(parts, above), dead(parts, above)) if fair is not None]


def _target(line: Line) -> str | None:
    target = line.config.target_activity
    return None if target is None else f"{target:g}"


def _losses_are_of_one_kind(lines: Sequence[Line], keys: Sequence[str]) -> bool:
    """Tell whether losses can be compared: a penalty's weight changes what they mean."""
    if any(key.partition(".")[0] in OF_THE_LOSS for key in keys):
        return False
    first = [lines[0].config.parts[group] for group in OF_THE_LOSS]
    return all([line.config.parts[group] for group in OF_THE_LOSS] == first for line in lines)


def _notes(lines: Sequence[Line], sort_by: str) -> list[str]:
    """Say which metric has no value although a job has finished."""
    metrics = [QUALITY] if sort_by in {AUTO, QUALITY} else [sort_by, QUALITY]
    return undefined_notes(
        ((name, row[name]) for line in lines for row in line.finished for name in metrics
         if name in row),
        ABSENT,
    )  # fmt: skip
