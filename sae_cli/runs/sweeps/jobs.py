"""The jobs of a sweep: what finished is left alone, what was stopped goes on, the others begin."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from sae_cli.core.errors import Stopped
from sae_cli.core.text import short
from sae_cli.run_folder.files import refuse_link
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import SWEEP, holds_run, holds_sweep, resume_command, status_of
from sae_cli.run_folder.lock import lock
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.sweeps.sweep import (
    RESULTS,
    Sweep,
    check_same,
    read_sweep,
    results_table,
    varied_keys,
    write_results,
)


def resume_sweep(path: Path) -> int:
    """Go on with a sweep from its folder, one job after the other.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: the folder is damaged.
        InUseError, Stopped: as ``run_sweep``.
    """
    sweep = read_sweep(path)

    def run_all() -> None:
        for number in range(len(sweep.jobs)):
            run_job(sweep, number)

    return run_sweep(sweep, run_all)


def run_sweep(sweep: Sweep, run_all: Callable[[], None]) -> int:
    """Have ``run_all`` run every job; ``results.csv`` and a table at the end.

    Everything is gathered from the folders, so that jobs may run in other processes.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: the folder holds something else.
        InUseError: another process is at work in it.
        Stopped: a signal has asked to; the sweep can go on.
    """
    with lock(sweep.path):
        for name in (SWEEP, RESULTS, *(job.folder for job in sweep.jobs)):
            refuse_link(sweep.path / name)
        if holds_sweep(sweep.path):
            check_same(read_sweep(sweep.path), sweep)
        else:
            sweep.write()
        try:
            run_all()
        except Stopped as stopped:
            say = f"the other jobs wait; go on with: {resume_command(sweep.path)}"
            raise Stopped(stopped.number, say) from None
        finally:
            rows = write_results(sweep)
            varied = varied_keys([job.overrides for job in sweep.jobs])
            for line in results_table(sweep, rows, varied):
                print(line)
            finished = len([row for row in rows if row["status"] == "finished"])
            results = short(sweep.path / RESULTS)
            print(f"{finished} of {len(rows)} jobs finished; results: {results}")
    return len(rows) - finished


def run_job(sweep: Sweep, number: int) -> None:
    """One job; a sweep goes on when it fails. The error is shown at once and stands in its log."""
    job = sweep.jobs[number]
    path = sweep.path / job.folder
    if status_of(path) == "finished":
        print(f"job {number + 1} of {len(sweep.jobs)} has finished: {' '.join(job.overrides)}")
        return
    print(f"\njob {number + 1} of {len(sweep.jobs)}: {' '.join(job.overrides)}", flush=True)
    write_results(sweep)
    try:
        begin_or_resume(job.config, path, job.overrides)
    except Exception as error:
        if not holds_run(path):
            folder = RunFolder(path)
            folder.write_overrides(job.overrides)
            folder.log(traceback.format_exc())
            folder.set_status("failed", error=str(error))
        print(f"error in job {path.name}: {error}", file=sys.stderr, flush=True)
    finally:
        write_results(sweep)
