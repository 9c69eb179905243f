"""The lines of a sweep's table: a job each, or the jobs that differ in nothing but their seed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sae_cli.config.schema import RunConfig
from sae_cli.core.text import with_sd
from sae_cli.results.notes import has_value
from sae_cli.runs.sweeps.sweep import Sweep

SEED = "seed"
MOST_NUMBERS = 4


@dataclass(frozen=True)
class Line:
    """Jobs that share a line.

    Attributes:
        config: of the first one.
        rows: of each, as ``results.csv`` holds them.
    """

    config: RunConfig
    rows: list[Mapping[str, Any]]

    @property
    def numbers(self) -> str:
        """The numbers of the jobs, with which the names of their folders begin."""
        found = sorted(int(number_of(row)) for row in self.rows)
        if len(found) > MOST_NUMBERS:
            return f"{found[0]}, {found[1]}, ..., {found[-1]}"
        return ", ".join(map(str, found))

    @property
    def status(self) -> str:
        """Their status; of several, how many have which."""
        found = Counter(str(row["status"]) for row in self.rows)
        if len(found) == 1:
            return next(iter(found))
        return ", ".join(f"{n} {status}" for status, n in found.items())

    @property
    def finished(self) -> list[Mapping[str, Any]]:
        """The rows of the jobs that have finished."""
        return [row for row in self.rows if row["status"] == "finished"]

    @property
    def active_above(self) -> float | None:
        """The magnitude above which codes count as active; None before any job has finished."""
        found = [row.get("active_above") for row in self.finished]
        return found[0] if found else None

    def values(self, metric: str) -> list[float]:
        """Give the values of a metric that the jobs have."""
        found = [row.get(metric) for row in self.finished]
        return [value for value in found if has_value(value) and value is not None]

    def mean(self, metric: str) -> float | None:
        """Give the mean of a metric over the jobs; None where none has it."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def cell(self, metric: str) -> str:
        """Word a metric as ``with_sd`` does."""
        return with_sd(self.values(metric))


def lines_of(
    sweep: Sweep, rows: Sequence[Mapping[str, Any]], varied: Sequence[str]
) -> tuple[list[Line], list[str]]:
    """Make the lines of a table, in the order of the rows.

    Args:
        rows: as ``write_results`` gives them.
        varied: the keys whose overrides differ between the jobs.

    Returns:
        the lines, and the keys that differ between them: without the seed where it is gathered.
    """
    jobs = {job.folder: job for job in sweep.jobs}
    groups: dict[Any, Line] = {}
    for row in rows:
        job = jobs[row["job"]]
        without = [text for text in job.overrides if text.partition("=")[0] != SEED]
        key = tuple(without) if SEED in varied else row["job"]
        groups.setdefault(key, Line(job.config, [])).rows.append(row)
    if all(len(line.rows) == 1 for line in groups.values()):
        return list(groups.values()), list(varied)
    return list(groups.values()), [key for key in varied if key != SEED]


def number_of(row: Mapping[str, Any]) -> str:
    """Give the number of a row's job, with which the name of its folder begins."""
    return str(row["job"].partition("_")[0])
