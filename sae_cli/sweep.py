"""What a sweep leaves: ``results.csv`` and a table, best first."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sae_cli.metrics import higher_is_better
from sae_cli.run_folder import OVERRIDES, STATUS, SUMMARY, read_json, write_atomically
from sae_cli.tables import table

RESULTS = "results.csv"
SHOWN = ("val/loss", "val/mse", "val/fvu", "val/l0", "val/dead_latents")


def write_results(sweep: Path, sort_by: str) -> list[dict[str, Any]]:
    """Gather the jobs' summaries into the sweep's ``results.csv``; return its rows.

    Best by ``sort_by`` first, jobs without it last.
    """
    folders = [
        folder
        for folder in sorted(sweep.iterdir())
        if (folder / STATUS).is_file() and (folder / OVERRIDES).is_file()
    ]
    rows = [_row(folder) for folder in folders]
    sign = -1.0 if higher_is_better(sort_by) else 1.0
    rows.sort(key=lambda row: _rank(row.get(sort_by), sign))
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(sweep / RESULTS, text.getvalue().encode())
    return rows


def _row(folder: Path) -> dict[str, Any]:
    overrides = yaml.safe_load((folder / OVERRIDES).read_text())
    row: dict[str, Any] = {"job": folder.name, "status": read_json(folder / STATUS)["status"]}
    row |= dict(override.split("=", 1) for override in overrides if "=" in override)
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}
    return row | {key: value for key, value in summary.items() if key != "status"}


def _rank(value: Any, sign: float) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else sign * value)


def results_table(rows: Sequence[dict[str, Any]], varied: Sequence[str], sort_by: str) -> list[str]:
    """The jobs with what varies between them, their status and main metrics, as aligned lines."""
    metrics = list(dict.fromkeys([sort_by, *SHOWN]))
    header = ["job", *varied, "status", *metrics]
    cells = [[row["job"].partition("_")[0], *(row.get(key) for key in header[1:])] for row in rows]
    return ["", f"best first by {sort_by}", *table(header, cells)]


def varied_keys(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose overrides differ between the jobs."""
    first = jobs[0]
    changing = [text for job in jobs for text in job if text not in first]
    return list(dict.fromkeys(text.partition("=")[0] for text in changing))
