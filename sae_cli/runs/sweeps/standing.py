"""How far a sweep is: a line after each job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import counted, duration, number
from sae_cli.results.notes import has_value
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import SUMMARY
from sae_cli.runs.sweeps.lines import number_of
from sae_cli.runs.sweeps.sweep import Sweep
from sae_cli.training.better import higher_is_better

ENDED = ("finished", "failed", "pruned")
# The time of so many jobs says enough, and of a large sweep not all are read after each job.
MOST_TIMED = 16


def standing(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Say how many jobs have ended, the best so far, and about how long the others take.

    Args:
        rows: as ``write_results`` gives them, best first.

    Returns:
        one line; None when no job is left.
    """
    done = [row for row in rows if row["status"] in ENDED]
    left = sweep.size - len(done)
    if not left:
        return None
    parts = [f"{len(done)} of {counted(sweep.size, 'job')} done"]
    parts += best_so_far(sweep, rows)
    if times := _times(sweep, done):
        at_work = len([row for row in rows if row["status"] == "running"])
        # The job that has just ended makes room for another one.
        together = min(at_work + 1, left)
        parts.append(f"about {duration(sum(times) / len(times) * left / together)} left")
    return "; ".join(parts)


def best_so_far(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Word the best of the jobs that have finished; nothing where none has."""
    metric = sweep.metric
    if rows[0]["status"] != "finished" or not has_value(rows[0].get(metric)):
        return []
    extreme = "highest" if higher_is_better(metric) else "lowest"
    value = number(rows[0][metric])
    return [f"{extreme} {metric} so far {value} (job {number_of(rows[0])})"]


def _times(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Give the seconds that some finished jobs took, those with the highest numbers."""
    finished = [row for row in rows if row["status"] == "finished"]
    latest = sorted(finished, key=lambda row: int(number_of(row)))[-MOST_TIMED:]
    found = [_seconds(sweep.path / row["job"]) for row in latest]
    return [seconds for seconds in found if seconds is not None]


@lru_cache(maxsize=1024)
def _seconds(folder: Path) -> float | None:
    try:
        seconds = read_json(folder / SUMMARY).get("seconds")
    except ConfigError:
        return None
    return float(seconds) if isinstance(seconds, int | float) else None
