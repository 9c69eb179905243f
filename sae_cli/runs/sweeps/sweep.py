"""A sweep and what it leaves: ``sweep.yaml``, ``results.csv`` and a table, best first."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.config.folder_names import job_folder
from sae_cli.config.schema import RunConfig
from sae_cli.core.differences import diff
from sae_cli.core.errors import ConfigError, in_one_line
from sae_cli.core.text import short, table
from sae_cli.results.notes import threshold_notes, undefined_notes
from sae_cli.results.saved_config import check_saved, with_axes_of
from sae_cli.run_folder.files import read_json, write_atomically
from sae_cli.run_folder.layout import STATUS, SWEEP, read_summary, status_of
from sae_cli.run_folder.plain_yaml import as_yaml, read_yaml
from sae_cli.training.metrics import higher_is_better

RESULTS = "results.csv"
SHOWN = ("val/loss", "val/mse", "val/fvu", "val/l0", "val/dead_latents")
# These are shown where a penalty has a target.
ACTIVITY, TARGET = "val/mean_activity", "penalty.target"
# sweep.yaml may be this large, which is some thousands of jobs.
MAX_BYTES = 1 << 26
# No machine has more cores, and the threads of a sweep from a stranger must not fill this one.
MAX_THREADS = 4096


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        folder: its name within the sweep's.
        overrides: what the command line changed for it.
        config: what it comes to.
    """

    folder: str
    overrides: list[str]
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and its jobs, in order.

    Attributes:
        threads: how many a job's long steps take, where its configuration leaves that open; decided
            once, because a launcher's workers may use another number, which gives other bits.
    """

    path: Path
    jobs: list[Job]
    threads: int = AVAILABLE_THREADS

    @property
    def folders(self) -> list[Path]:
        """The folder of each job."""
        return [self.path / job.folder for job in self.jobs]

    @property
    def sort_by(self) -> str:
        return self.jobs[0].config.settings.sort_by

    def write(self) -> None:
        """``sweep.yaml``, from which the sweep can be resumed."""
        jobs = [{"overrides": job.overrides, "config": job.config.as_dict()} for job in self.jobs]
        write_atomically(self.path / SWEEP, as_yaml({"threads": self.threads, "jobs": jobs}))


def sweep_of(
    path: Path,
    overrides: Sequence[list[str]],
    configs: Sequence[RunConfig],
    threads: int = AVAILABLE_THREADS,
) -> Sweep:
    """Make the sweep of these jobs."""
    pairs = enumerate(zip(overrides, configs, strict=True))
    jobs = [Job(job_folder(i, given), given, config) for i, (given, config) in pairs]
    return Sweep(path, jobs, threads)


def read_sweep(path: Path) -> Sweep:
    """Read the sweep in a folder as data; no folder's name is taken from it.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    content = read_yaml(path / SWEEP, MAX_BYTES)
    try:
        entries = [([*map(str, job["overrides"])], {**job["config"]}) for job in content["jobs"]]
        # Earlier versions left the threads to each job.
        threads = content.get("threads", AVAILABLE_THREADS)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path / SWEEP} is damaged ({error} is not right)") from None
    if not entries:
        raise ConfigError(f"{path / SWEEP} is damaged (it has no jobs)")
    if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
        raise ConfigError(
            f"{path / SWEEP} is damaged (threads must be a number from 1 to {MAX_THREADS})"
        )
    overrides, configs = ([*column] for column in zip(*entries, strict=True))
    return sweep_of(path, overrides, [check_saved(config) for config in configs], threads)


def check_same(recorded: Sweep, given: Sweep) -> None:
    """Raise ConfigError unless a folder's sweep is the one that is asked for."""
    what = f"{short(given.path)} holds another sweep"
    if len(recorded.jobs) != len(given.jobs):
        raise ConfigError(
            f"{what} ({len(recorded.jobs)} jobs, {len(given.jobs)} now); choose another folder"
        )
    for then, now in zip(recorded.jobs, given.jobs, strict=True):
        config = with_axes_of(then.config, now.config)
        found = [str(one) for one in diff(then.config.as_dict(), config.as_dict())]
        if then.overrides != now.overrides or found:
            changed = "; ".join(found) or f"{' '.join(then.overrides)} then"
            raise ConfigError(
                f"{what} (job {then.folder}: {changed}); choose another folder, or resume that "
                f"one: sae-train resume={short(given.path)}"
            )


def write_results(sweep: Sweep) -> list[dict[str, Any]]:
    """Gather the jobs' summaries into the sweep's ``results.csv``; return its rows.

    Best by ``sort_by`` first, jobs without it last. Nothing in it depends on when or how fast the
    jobs ran.
    """
    rows = [_row(sweep.path, job) for job in sweep.jobs]
    sign = -1.0 if higher_is_better(sweep.sort_by) else 1.0
    rows.sort(key=lambda row: _rank(row.get(sweep.sort_by), sign))
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(sweep.path / RESULTS, text.getvalue().encode())
    return rows


def _row(path: Path, job: Job) -> dict[str, Any]:
    folder = path / job.folder
    row: dict[str, Any] = {"job": job.folder, "status": status_of(folder)}
    row |= dict(override.split("=", 1) for override in job.overrides if "=" in override)
    if row["status"] == "finished":
        summary = read_summary(folder)
        row |= {key: value for key, value in summary.items() if key not in {"status", "seconds"}}
    return row


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
