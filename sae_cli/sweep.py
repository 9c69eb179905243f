"""What a sweep leaves: ``results.csv`` and a table, best first."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, ClassVar, final

import yaml
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from sae_cli.tables import table

SHOWN = ("val/loss", "val/mse", "val/fvu", "val/l0", "val/dead_latents")


@final
class SweepResults(Callback):
    """Hydra's callback around a sweep.

    Attributes:
        failed: how many jobs of this process's sweep did not finish.
    """

    failed: ClassVar[int] = 0

    def on_job_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep ``results.csv`` of a sweep complete at any moment."""
        if config.hydra.mode == RunMode.MULTIRUN:
            write_results(Path(config.hydra.sweep.dir), config.sort_by)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table."""
        sweep = Path(config.hydra.sweep.dir)
        rows = write_results(sweep, config.sort_by)
        SweepResults.failed = sum(row["status"] != "finished" for row in rows)
        for line in results_table(rows, config.sort_by):
            print(line)
        done = len(rows) - SweepResults.failed
        print(f"{done} of {len(rows)} jobs finished; results: {sweep / 'results.csv'}")


def write_results(sweep: Path, sort_by: str) -> list[dict[str, Any]]:
    """Gather the jobs' summaries into ``results.csv``, and return its rows."""
    from sae_cli.run_folder import write_atomically

    rows = gather(sweep, sort_by)
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(sweep / "results.csv", text.getvalue().encode())
    return rows


def gather(sweep: Path, sort_by: str) -> list[dict[str, Any]]:
    """A row for each job's folder, lowest ``sort_by`` first, jobs without it last."""
    from sae_cli.run_folder import STATUS, SUMMARY, read_json

    rows = []
    for folder in sorted(sweep.iterdir()):
        if not (folder / STATUS).is_file():
            continue
        overrides = yaml.safe_load((folder / "overrides.yaml").read_text())
        row = {"job": folder.name, "status": read_json(folder / STATUS)["status"]}
        row |= dict(override.split("=", 1) for override in overrides)
        if (folder / SUMMARY).is_file():
            row |= read_json(folder / SUMMARY)
        rows.append(row)
    return sorted(rows, key=lambda row: _rank(row.get(sort_by)))


def _rank(value: Any) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else value)


def results_table(rows: list[dict[str, Any]], sort_by: str) -> list[str]:
    """The jobs' rank, overrides, status and main metrics as aligned lines."""
    metrics = list(dict.fromkeys([sort_by, *SHOWN]))
    cells = [
        [
            row["job"].partition("_")[2] or row["job"],
            row["status"],
            *(row.get(metric) for metric in metrics),
        ]
        for row in rows
    ]
    return ["", f"best first by {sort_by}", *table(["job", "status", *metrics], cells)]
