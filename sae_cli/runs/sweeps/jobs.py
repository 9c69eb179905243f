"""The jobs of a sweep: finished ones are left alone, stopped ones resume, the others begin."""

from __future__ import annotations

import math
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from sae_cli.core.company import in_company
from sae_cli.core.errors import ConfigError, MovedError, Pruned, in_one_line
from sae_cli.core.text import say
from sae_cli.results.finished import has_finished
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import holds_run, resume_command, status_of
from sae_cli.run_folder.lock import check_in_place, is_locked
from sae_cli.runs.active_run import Watch, watch_nothing
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.sweeps.results import (
    write_results,
)
from sae_cli.runs.sweeps.standing import standing
from sae_cli.runs.sweeps.sweep import Sweep

# The table of a sweep is written so often while its jobs run one by one.
RESULTS_SECONDS = 2.0


class Launcher(ABC):
    """Starts the jobs of a sweep.

    Attributes:
        elsewhere: whether jobs may run on other machines, which may have another number of cores.
    """

    elsewhere = False

    @abstractmethod
    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        """Have ``run_job`` run these jobs, here or in other processes; return when all have ended.

        Raises:
            ConfigError: a queue refuses the jobs.
            Stopped: a signal asked to.
        """

    def left(self, sweep: Sweep) -> str:
        """Say what becomes of the other jobs after ``Stopped``."""
        return "the other jobs wait;"


@final
class OneByOne(Launcher):
    """Runs the jobs in this process, in their order."""

    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        written = -math.inf
        for number in numbers:
            run_job(sweep, number)
            # To write the table of a long sweep takes a while, and ``run_sweep`` writes the last.
            if time.monotonic() - written >= RESULTS_SECONDS:
                tell_standing(sweep, write_results(sweep))
                written = time.monotonic()


def run_job(sweep: Sweep, number: int) -> None:
    """Run one job; an error is shown, logged in the job's folder, and stops no other job.

    The caller has the results written.
    """
    job = sweep.jobs[number]
    path = sweep.path / job.folder
    which, words = f"job {number} ({sweep.size} in all)", " ".join(job.overrides)
    if has_finished(path):
        tell(sweep, f"{which} has finished: {words}")
        return
    if status_of(path) == "pruned":
        tell(sweep, f"{which} was pruned: {words}")
        return
    if not in_company():
        tell(sweep, "")
        tell(sweep, f"{which}: {words}")
    try:
        watch = _watch(sweep, number)
        begin_or_resume(job.config, path, job.overrides, threads=sweep.threads, watch=watch)
    except MovedError as error:
        if not in_company():
            raise
        # The other jobs are where they were, unless it is the sweep that was moved.
        check_in_place(sweep.path)
        tell_error(job.folder, str(error))
    except Pruned as pruned:
        tell(sweep, f"{pruned}; to train it on: {resume_command(path)}")
    except Exception as error:
        # Another process may be about to begin a run there.
        if not holds_run(path) and not is_locked(path):
            # What the error is about, such as a link, may keep this from being written, too.
            with suppress(ConfigError):
                _record(path, job.overrides, str(error), traceback.format_exc())
        tell_error(job.folder, str(error))


def tell_error(job: str, error: str) -> None:
    """Show the error of the job whose folder has this name."""
    print(in_one_line(f"error in job {job}: {error}"), file=sys.stderr, flush=True)


def _watch(sweep: Sweep, number: int) -> Watch:
    """Give what may end a job early, in a search that prunes."""
    if sweep.search is None or sweep.search.options.pruner == "none":
        return watch_nothing
    from sae_cli.runs.sweeps.trials import Median

    return Median(sweep, sweep.search, number)


def tell_standing(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> None:
    """Say how far a sweep is, unless it is at its end; ``rows`` as ``write_results`` gives them."""
    if (line := standing(sweep, rows)) is not None:
        tell(sweep, line)


def tell(sweep: Sweep, line: str) -> None:
    """Say a line, unless the sweep is to be quiet."""
    if not sweep.quiet:
        say(line)


def record_failure(sweep: Sweep, number: int, reason: str) -> None:
    """Show a job's failure that it could not record itself, and record it in the job's folder."""
    job = sweep.jobs[number]
    path = sweep.path / job.folder
    tell_error(job.folder, f"{reason}; resume with: {resume_command(sweep.path)}")
    _record(path, job.overrides, reason, reason)
    write_results(sweep)


def _record(path: Path, overrides: list[str], error: str, log: str) -> None:
    folder = RunFolder(path)
    folder.write_overrides(overrides)
    folder.log(log)
    folder.set_status("failed", error=error)
