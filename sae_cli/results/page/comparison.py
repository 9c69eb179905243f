"""Many runs beside each other: what differs between them, and means over their seeds."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sae_cli.config.settings import AUTO, FREE
from sae_cli.core.errors import in_one_line
from sae_cli.core.text import number, precision
from sae_cli.results.fair import QUALITY
from sae_cli.results.page.shown_run import ShownRun
from sae_cli.training.better import higher_is_better

SEED = "seed"
# No more seeds are listed one by one.
MOST_SEEDS = 6
# A table has no more columns of settings; the differences of the configurations show the others.
MOST_COLUMNS = 12
# The metrics of the table, after the one that a sweep is sorted by.
KEY_METRICS = (
    *("val/loss", "val/fvu", "val/mse", "val/l0", "val/mean_activity", "val/dead_latents"),
    *("val/accuracy", "test/fvu", "test/accuracy"),
)
# The time that the folder of a run or a sweep begins with, and the number that a job's begins with.
TIME = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_(?=.)")
JOB = re.compile(r"^(.+/\d+)_[^/]*$")


@dataclass(frozen=True)
class Spread:
    """A metric over the seeds of a group of runs.

    Attributes:
        mean: over the runs that have it; None where none has.
        sd: the sample standard deviation, divided by n - 1; None for fewer than two.
    """

    mean: float | None
    sd: float | None

    @property
    def text(self) -> str:
        """The two as numbers of one precision."""
        if self.mean is None or self.sd is None:
            return number(self.mean)
        return f"{number(self.mean)} ± {self.sd:{precision(self.mean)}}"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        settings: those that set it apart from other groups.
        seeds: of its runs.
        spreads: by metric.
    """

    settings: dict[str, str]
    seeds: list[str]
    spreads: dict[str, Spread]

    @property
    def seeds_text(self) -> str:
        """The seeds, or how many there are and the first and the last of many."""
        if len(self.seeds) <= MOST_SEEDS:
            return ", ".join(self.seeds)
        return f"{len(self.seeds)}: {self.seeds[0]} to {self.seeds[-1]}"


def names_of(paths: Sequence[Path]) -> list[str]:
    """Give the path of each folder below the one that holds them all; its name if it is alone."""
    if len(paths) == 1:
        return [in_one_line(paths[0].resolve().name)]
    resolved = [str(path.resolve()) for path in paths]
    common = os.path.commonpath(resolved)
    return [in_one_line(os.path.relpath(path, common)) for path in resolved]


def labels_of(names: Sequence[str]) -> list[str]:
    """Give what stands for each name where room is scarce.

    The number of a job stands for it, after the folder of its sweep where there are other runs, and
    folders go without their time, unless that alone tells them apart.
    """
    numbers = [name.partition("_")[0] for name in names]
    if all(map(str.isdecimal, numbers)) and len({*numbers}) == len(names):
        return numbers
    numbered = [JOB.sub(r"\1", name) for name in names]
    for labels in ([TIME.sub("", name) for name in numbered], numbered):
        if len({*labels}) == len(labels):
            return labels
    return list(names)


def in_natural_order(name: str) -> list[tuple[int, str]]:
    """Order names by the numbers in them: ``2_b`` before ``10_a``."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d{1,18})", name)]


def differing(runs: Sequence[ShownRun]) -> list[str]:
    """Give the settings that differ between runs and can change a number."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return [
        key for key in keys if not is_free(key) and len({run.settings.get(key) for run in runs}) > 1
    ]


def is_free(key: str) -> bool:
    """Tell whether a setting changes no number of a run; other data may, wherever they are."""
    return key in FREE and not key.startswith("dataset.")


def columns(runs: Sequence[ShownRun], differences: Sequence[str]) -> list[str]:
    """Choose the settings that tell these runs apart: what was typed, where that does.

    Args:
        differences: as ``differing`` gives them.
    """
    typed = dict.fromkeys(
        text.partition("=")[0].lstrip("+") for run in runs for text in run.overrides if "=" in text
    )
    chosen = [key for key in typed if key in differences]
    return (chosen if _tell_apart(runs, chosen) else [*differences])[:MOST_COLUMNS]


def _tell_apart(runs: Sequence[ShownRun], keys: Sequence[str]) -> bool:
    rest = {tuple(run.settings.get(key) for key in keys) for run in runs}
    every = {
        tuple(sorted((k, v) for k, v in run.settings.items() if not is_free(k))) for run in runs
    }
    return len(rest) == len(every)


def key_metrics(runs: Sequence[ShownRun], first: Sequence[str]) -> list[str]:
    """Give the metrics of the table that some run has.

    Args:
        first: those that come before all others.
    """
    named = dict.fromkeys([*first, *KEY_METRICS])
    return [name for name in named if any(name in run.metrics for run in runs)]


def sort_metrics(runs: Sequence[ShownRun], objectives: Sequence[str]) -> list[str]:
    """Give what the first of the runs says its sweep is sorted by, or what a search makes best."""
    said = runs[0].settings.get("sort_by", AUTO)
    return [said] if said != AUTO else [*objectives] or [QUALITY]


def best_first(runs: Iterable[ShownRun], metric: str) -> list[ShownRun]:
    """Sort runs by a metric, and by the numbers in their names; those without it come last."""
    sign = -1.0 if higher_is_better(metric) else 1.0
    return sorted(
        runs,
        key=lambda run: (
            metric not in run.metrics,
            sign * run.metrics.get(metric, 0.0),
            in_natural_order(run.path.name),
        ),
    )


def over_seeds(
    runs: Sequence[ShownRun], shown: Sequence[str], metrics: Sequence[str]
) -> list[Group]:
    """Gather finished runs that differ only in their seed; none where no two do.

    Of runs with one seed, as when one was reproduced, the one that started last counts.

    Args:
        shown: the settings to show of each group.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, ShownRun]] = {}
    for run in runs:
        if run.status == "finished":
            own = {k: v for k, v in run.settings.items() if k != SEED and not is_free(k)}
            group = groups.setdefault(tuple(sorted(own.items())), {})
            seed = run.settings.get(SEED, "")
            group[seed] = max(group.get(seed, run), run, key=_started)
    if all(len(group) < 2 for group in groups.values()):
        return []
    return [_group([*group.values()], shown, metrics) for group in groups.values()]


def _started(run: ShownRun) -> str:
    return str(run.record.get("started", ""))


def _group(runs: Sequence[ShownRun], shown: Sequence[str], metrics: Sequence[str]) -> Group:
    own = runs[0].settings
    return Group(
        {key: own.get(key, "") for key in shown if key != SEED},
        sorted((run.settings.get(SEED, "") for run in runs), key=in_natural_order),
        {
            name: _spread([run.metrics[name] for run in runs if name in run.metrics])
            for name in metrics
        },
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
    )
