"""The results of a sweep, gathered from its jobs: ``results.csv`` and a table, best first."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sae_cli.core.errors import in_one_line
from sae_cli.core.text import table
from sae_cli.results.notes import threshold_notes, undefined_notes
from sae_cli.run_folder.files import read_json, write_atomically
from sae_cli.run_folder.layout import STATUS, SUMMARY, read_summary, status_of
from sae_cli.runs.sweeps.sweep import Job, Sweep
from sae_cli.training.metrics import higher_is_better

RESULTS = "results.csv"
SHOWN = ("val/loss", "val/mse", "val/fvu", "val/l0", "val/dead_latents")
# These are shown where a penalty has a target.
ACTIVITY, TARGET = "val/mean_activity", "penalty.target"
MAX_REMEMBERED = 1 << 14

Identity = tuple[int, int, int] | None


def write_results(sweep: Sweep) -> list[dict[str, Any]]:
    """Gather the jobs' summaries into the sweep's ``results.csv``; return its rows.

    Best by ``sort_by`` first, jobs without it last. Nothing in it depends on when or how fast the
    jobs ran.
    """
    rows = [_row(str(sweep.path), job) for job in sweep.jobs]
    sign = -1.0 if higher_is_better(sweep.sort_by) else 1.0
    rows.sort(key=lambda row: _rank(row.get(sweep.sort_by), sign))
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


def results_table(sweep: Sweep, rows: Sequence[dict[str, Any]], varied: Sequence[str]) -> list[str]:
    """Show what varies between the jobs, their status and main metrics, in aligned lines.

    Args:
        rows: as ``write_results`` gives them.
        varied: the keys whose overrides differ between the jobs.
    """
    targets = {job.folder: job.config.target_activity for job in sweep.jobs}
    metrics = [sweep.sort_by, *SHOWN]
    if any(target is not None for target in targets.values()):
        rows = [{TARGET: targets[row["job"]]} | row for row in rows]
        metrics += [ACTIVITY, *(() if TARGET in varied else (TARGET,))]
    metrics = list(dict.fromkeys(metrics))
    header = ["job", *varied, "status", *metrics]
    cells = [[_number(row), *(row.get(key) for key in header[1:])] for row in rows]
    # A job that has not finished has no metrics at all.
    measured = [
        (name, row[name]) for row in rows for name in metrics if "/" in name and name in row
    ]
    return [
        "",
        f"best first by {sweep.sort_by}",
        *table(header, cells),
        *threshold_notes((f"job {_number(row)}", row.get("active_above")) for row in rows),
        *undefined_notes(measured, "-"),
    ]


def failure_notes(sweep: Sweep, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Say why jobs failed: a launcher may have shown that elsewhere, or long ago."""
    failed = [row for row in rows if row["status"] == "failed"]
    reasons = [read_json(sweep.path / row["job"] / STATUS).get("error") for row in failed]
    return [
        in_one_line(f"job {_number(row)} failed: {reason}")
        for row, reason in zip(failed, reasons, strict=True)
    ]


def _number(row: dict[str, Any]) -> str:
    """Give the number of a row's job, with which the name of its folder begins."""
    return str(row["job"].partition("_")[0])


def varied_keys(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Find the keys whose overrides differ between the jobs."""
    first = jobs[0]
    changing = [text for job in jobs for text in job if text not in first]
    return list(dict.fromkeys(text.partition("=")[0] for text in changing))
