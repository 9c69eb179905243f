"""The jobs of a sweep: finished ones are left alone, stopped ones resume, the others begin."""

from __future__ import annotations

import math
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from sae_cli.config.search_space import check_installed
from sae_cli.config.settings import PRINTING
from sae_cli.core.company import in_company
from sae_cli.core.errors import ConfigError, MovedError, Pruned, Stopped, in_one_line
from sae_cli.core.text import say, short
from sae_cli.results.finished import has_finished
from sae_cli.results.tables import terminal_width
from sae_cli.run_folder.files import refuse_link, remove_temporaries
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import SWEEP, holds_run, holds_sweep, resume_command, status_of
from sae_cli.run_folder.lock import check_in_place, is_locked, lock
from sae_cli.runs.active_run import Watch, watch_nothing
from sae_cli.runs.reporting import report_sweep
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.sweeps.results import (
    RESULTS,
    failure_notes,
    varied_keys,
    write_results,
)
from sae_cli.runs.sweeps.results_table import results_table
from sae_cli.runs.sweeps.standing import standing
from sae_cli.runs.sweeps.sweep import DATABASE, Sweep, check_same, read_sweep
from sae_cli.trackers.tracker import outside

# The table of a sweep is written so often while its jobs run one by one.
RESULTS_SECONDS = 2.0


class Launcher(ABC):
    """Starts the jobs of a sweep.

    Attributes:
        jobs_go_on: whether jobs may be left at work after ``Stopped``.
    """

    jobs_go_on = False

    @abstractmethod
    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        """Have ``run_job`` run these jobs, here or in other processes; return when all have ended.

        Raises:
            Stopped: a signal asked to.
        """


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


def resume_sweep(
    path: Path,
    changes: Mapping[str, Any] = MappingProxyType({}),
    launcher_for: Callable[[Sweep], Launcher] = lambda sweep: OneByOne(),
) -> int:
    """Resume a sweep from its folder.

    Args:
        changes: new values for settings of ``PRINTING``, for all jobs.
        launcher_for: chooses how its jobs run.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: another setting is given, the folder is damaged, or its trackers lead out of
            the folder of all runs.
        InUseError, Stopped: as ``run_sweep``.
    """
    for key in changes:
        if key not in PRINTING:
            raise ConfigError(
                f"{key}: a sweep is resumed as it was; with resume= only {', '.join(PRINTING)} can "
                "be given"
            )
    sweep = read_sweep(path)
    configs = [job.config for job in sweep.jobs]
    if sweep.search is not None:
        check_installed()
        configs += [config for _, config in sweep.search.bases]
    for name, options in ((n, o) for one in configs for n, o in one.settings.logger.items()):
        # Only the command line may ask for these, because a folder may come from anyone.
        if (option := outside(name, options)) is not None:
            raise ConfigError(
                f"logger.{name}.{option}={options[option]} of a folder is not followed; resume the "
                f"sweep by the command that began it, with hydra.sweep.dir={short(path)}"
            )
    return run_sweep(sweep, launcher_for(sweep), changes)


def run_sweep(
    sweep: Sweep, launcher: Launcher, changes: Mapping[str, Any] = MappingProxyType({})
) -> int:
    """Run every job, and show a table of their results, which are in ``results.csv`` as well.

    Everything is gathered from the folders, so that jobs may run in other processes.

    Args:
        changes: as for ``resume_sweep``.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: the folder holds something else.
        InUseError: another process is at work in it.
        Stopped: a signal asked to; the sweep can be resumed.
    """
    with lock(sweep.path):
        for name in (SWEEP, RESULTS, DATABASE, *(job.folder for job in sweep.jobs)):
            refuse_link(sweep.path / name)
        remove_temporaries(sweep.path)
        if holds_sweep(sweep.path):
            recorded = read_sweep(sweep.path)
            check_same(recorded, sweep)
            # A search may be given more trials.
            sweep = replace(recorded, search=sweep.search)
        else:
            sweep.write()
        sweep = sweep.changed(changes)
        write_results(sweep)
        try:
            _launch(sweep, launcher)
        except Stopped as stopped:
            others = _left_at_work(sweep) if launcher.jobs_go_on else "the other jobs wait;"
            hint = f"{others} resume with: {resume_command(sweep.path)}"
            raise Stopped(stopped.number, hint) from None
        finally:
            rows = write_results(sweep)
            varied = varied_keys([job.overrides for job in sweep.jobs])
            shown = [] if sweep.quiet else results_table(sweep, rows, varied, terminal_width())
            for line in shown:
                say(line)
            for line in failure_notes(sweep, rows):
                say(line)
            left = sweep.size - sum(row["status"] in ("finished", "pruned") for row in rows)
            say(f"{_how_many(sweep, rows)}; results: {short(sweep.path / RESULTS)}")
        if sweep.jobs[0].config.settings.report:
            report_sweep(sweep.path, say)
    if left:
        say(f"resume with: {resume_command(sweep.path)}")
    return left


def _launch(sweep: Sweep, launcher: Launcher) -> None:
    if sweep.search is None:
        launcher.launch(sweep, range(len(sweep.jobs)))
        return
    # Optuna is there for searches only.
    from sae_cli.runs.sweeps.searching import run_search

    run_search(sweep, sweep.search, partial(launcher.launch, sweep))


def _how_many(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many jobs have finished, and how many a search has pruned."""
    found = Counter(row["status"] for row in rows)
    pruned = f", {found['pruned']} pruned" if found["pruned"] else ""
    return f"{found['finished']} of {sweep.size} jobs finished{pruned}"


def _left_at_work(sweep: Sweep) -> str:
    """Say which jobs the processes of a launcher are left with."""
    numbers = [str(n) for n, job in enumerate(sweep.jobs) if is_locked(sweep.path / job.folder)]
    at_work = f" (at work: {', '.join(numbers)})" if numbers else ""
    return f"the launcher's processes may go on with all jobs{at_work}; when they have ended,"


def run_job(sweep: Sweep, number: int) -> None:
    """Run one job; an error is shown, logged in the job's folder, and stops no other job.

    The caller has the results written.
    """
    job = sweep.jobs[number]
    path = sweep.path / job.folder
    which, words = f"job {number} ({sweep.size} in all)", " ".join(job.overrides)
    if has_finished(path):
        _tell(sweep, f"{which} has finished: {words}")
        return
    if status_of(path) == "pruned":
        _tell(sweep, f"{which} was pruned: {words}")
        return
    if not in_company():
        _tell(sweep, "")
        _tell(sweep, f"{which}: {words}")
    try:
        watch = _watch(sweep, number)
        begin_or_resume(job.config, path, job.overrides, threads=sweep.threads, watch=watch)
    except MovedError as error:
        if not in_company():
            raise
        # The other jobs are where they were, unless it is the sweep that was moved.
        check_in_place(sweep.path)
        _tell_error(job.folder, str(error))
    except Pruned as pruned:
        _tell(sweep, f"{pruned}; to train it on: {resume_command(path)}")
    except Exception as error:
        # Another process may be about to begin a run there.
        if not holds_run(path) and not is_locked(path):
            # What the error is about, such as a link, may keep this from being written, too.
            with suppress(ConfigError):
                _record(path, job.overrides, str(error), traceback.format_exc())
        _tell_error(job.folder, str(error))


def _tell_error(job: str, error: str) -> None:
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
        _tell(sweep, line)


def _tell(sweep: Sweep, line: str) -> None:
    """Say a line, unless the sweep is to be quiet."""
    if not sweep.quiet:
        say(line)


def record_failure(sweep: Sweep, number: int, reason: str) -> None:
    """Show a job's failure that it could not record itself, and record it in the job's folder."""
    job = sweep.jobs[number]
    path = sweep.path / job.folder
    _tell_error(job.folder, f"{reason}; resume with: {resume_command(sweep.path)}")
    _record(path, job.overrides, reason, reason)
    write_results(sweep)


def _record(path: Path, overrides: list[str], error: str, log: str) -> None:
    folder = RunFolder(path)
    folder.write_overrides(overrides)
    folder.log(log)
    folder.set_status("failed", error=error)
