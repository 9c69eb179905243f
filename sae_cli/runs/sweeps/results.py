"""The results of a sweep, gathered from its jobs into ``results.csv``, best first."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sae_cli.core.errors import in_one_line
from sae_cli.run_folder.files import read_json, write_atomically
from sae_cli.run_folder.layout import STATUS, SUMMARY, read_summary, status_of
from sae_cli.runs.sweeps.lines import number_of
from sae_cli.runs.sweeps.sweep import Job, Sweep
from sae_cli.training.better import higher_is_better

RESULTS = "results.csv"
TARGET = "penalty.target"
MAX_REMEMBERED = 1 << 14

Identity = tuple[int, int, int] | None


def write_results(sweep: Sweep) -> list[dict[str, Any]]:
    """Gather the jobs' summaries into the sweep's ``results.csv``; return its rows.

    Best by the sweep's metric first, jobs without it last. Nothing in it depends on when or how
    fast the jobs ran.
    """
    rows = [_row(str(sweep.path), job) for job in sweep.jobs]
    sign = -1.0 if higher_is_better(sweep.metric) else 1.0
    rows.sort(key=lambda row: _rank(row.get(sweep.metric), sign))
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(text)
    writer.writerows([columns, *([row.get(column) for column in columns] for row in rows)])
    write_atomically(sweep.path / RESULTS, text.getvalue().encode())
    return rows


def _row(path: str, job: Job) -> dict[str, Any]:
    # Paths are text here, because a large sweep asks for very many.
    folder = f"{path}/{job.folder}"
    metrics = _metrics_of_finished(
        folder, _identity(f"{folder}/{STATUS}"), _identity(f"{folder}/{SUMMARY}")
    )
    status = "finished" if metrics is not None else status_of(Path(folder))
    row: dict[str, Any] = {"job": job.folder, "status": status}
    row |= dict(override.split("=", 1) for override in job.overrides if "=" in override)
    if job.config.target_activity is not None:
        row.setdefault(TARGET, job.config.target_activity)
    return row | (metrics or {})


# All jobs are gathered again after each one, and most have not changed since.
@lru_cache(maxsize=MAX_REMEMBERED)
def _metrics_of_finished(folder: str, status: Identity, summary: Identity) -> dict[str, Any] | None:
    """Read what a job has left, if it has finished; again when one of the two files is another."""
    if status is None or summary is None or status_of(Path(folder)) != "finished":
        return None
    found = read_summary(Path(folder))
    return {key: value for key, value in found.items() if key not in {"status", "seconds"}}


def _identity(path: str) -> Identity:
    """Give what changes whenever a file is written as run folders write theirs; None without."""
    try:
        about = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def _rank(value: Any, sign: float) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else sign * value)


def failure_notes(sweep: Sweep, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say why jobs failed: a launcher may have shown that elsewhere, or long ago."""
    failed = [row for row in rows if row["status"] == "failed"]
    reasons = [read_json(sweep.path / row["job"] / STATUS).get("error") for row in failed]
    return [
        in_one_line(f"job {number_of(row)} failed: {reason}")
        for row, reason in zip(failed, reasons, strict=True)
    ]


def varied_keys(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Find the keys whose overrides differ between the jobs."""
    first = jobs[0]
    changing = [text for job in jobs for text in job if text not in first]
    return list(dict.fromkeys(text.partition("=")[0] for text in changing))
