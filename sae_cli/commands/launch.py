"""Hydra's launchers, which start the jobs of a sweep side by side or on other machines."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from types import FrameType
from typing import final

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher as HydrasOwn
from hydra.types import HydraContext
from omegaconf import DictConfig

from sae_cli.commands.queue_launcher import QUEUES, QueueLauncher
from sae_cli.config.compose import hydra_ready
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import compose_launcher
from sae_cli.config.typed_text import quote
from sae_cli.core.errors import Stopped, in_one_line
from sae_cli.core.plugins.loaded import LOADED, Plugin
from sae_cli.core.signals import handle_signals
from sae_cli.core.text import counted
from sae_cli.run_folder.layout import status_of
from sae_cli.run_folder.lock import is_locked, owner
from sae_cli.runs.sweeps.job_process import POLL_SECONDS, end_with_parent, run_apart
from sae_cli.runs.sweeps.jobs import Launcher, record_failure
from sae_cli.runs.sweeps.sweep import Sweep

GROUP = "hydra/launcher="
# A machine that keeps killing workers has not the memory for so many at a time.
MOST_LAUNCHES = 4


@final
class HydraLauncher(Launcher):
    """A launcher that is chosen with ``hydra/launcher=NAME``.

    Args:
        words: the overrides that choose it and set its options.
        pages: the user's own folder of pages, if any.
    """

    def __init__(self, words: Sequence[str], pages: Path | None) -> None:
        self._words = words
        self._pages = pages
        self._jobs_go_on = False

    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        """Run these jobs, each in a process of its own, which a worker of the launcher starts.

        What the launcher itself raises is shown, and ends no job that another process is at.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            # Workers that this process has started end with it; those of a cluster do not.
            self._jobs_go_on = not active_children()
            if not self._jobs_go_on:
                _stop_jobs(sweep)
            raise Stopped(number)

        with hydra_ready(self._pages) as hydra, handle_signals(stop):
            folder = f"hydra.sweep.dir={quote(str(sweep.path))}"
            with explain_errors():
                launcher = Plugins.instance().instantiate_launcher(
                    hydra_context=HydraContext(hydra.config_loader, Callbacks()),
                    task_function=partial(_run, sweep, os.getpid(), [*LOADED.values()]),
                    config=compose_launcher([*self._words, folder]),
                )
            try:
                _launch(launcher, sweep, list(numbers))
            except Exception as error:
                # A launcher is another project's, and any error may come from it.
                text = str(error).partition("\n")[0]
                say = in_one_line(f"error in the launcher: {type(error).__name__}: {text}")
                print(say, file=sys.stderr, flush=True)
            _wait(sweep.folders)

    def left(self, sweep: Sweep) -> str:
        """Say which jobs the processes of a launcher are left with."""
        if not self._jobs_go_on:
            return super().left(sweep)
        numbers = [str(n) for n, folder in enumerate(sweep.folders) if is_locked(folder)]
        at_work = f" (at work: {', '.join(numbers)})" if numbers else ""
        return f"the launcher's processes may go on with all jobs{at_work}; when they have ended,"


def launcher_of(words: Sequence[str], pages: Path | None) -> Launcher:
    """Give the launcher that words of the command line choose, which have been composed before.

    Raises:
        ConfigError: it cannot be used here, or not with these options.
    """
    chosen = [word.removeprefix(GROUP) for word in words if word.startswith(GROUP)]
    kind = QUEUES.get(chosen[-1]) if chosen else None
    if kind is None:
        return HydraLauncher(words, pages)
    launcher = QueueLauncher(kind, words, pages)
    launcher.check()
    return launcher


def _launch(launcher: HydrasOwn, sweep: Sweep, numbers: Sequence[int]) -> None:
    """Launch these jobs, and again those that ended with the worker of another."""
    for launches_left in reversed(range(MOST_LAUNCHES)):
        try:
            _launch_once(launcher, sweep, numbers)
            return
        except BrokenExecutor:
            # When one of its workers dies, joblib kills the others, and can start new ones.
            _wait(sweep.folders)
            numbers = [number for number in numbers if not _has_ended(sweep, number)]
            if not numbers:
                return
            if not launches_left:
                raise
        print(
            "error in the launcher: one of its workers died, and the others with it; launching "
            f"again what has not ended ({counted(len(numbers), 'job')})",
            file=sys.stderr,
            flush=True,
        )


def _launch_once(launcher: HydrasOwn, sweep: Sweep, numbers: Sequence[int]) -> None:
    # Hydra composes nothing for a job but its number.
    jobs = [[f"+job={number}"] for number in numbers]
    for number, done in zip(numbers, launcher.launch(jobs, initial_job_idx=0), strict=True):
        if done.status is JobStatus.FAILED:
            record_failure(sweep, number, in_one_line(str(done._return_value)))


def _run(sweep: Sweep, starter: int, plugins: Sequence[Plugin], config: DictConfig) -> None:
    if os.getppid() == starter:
        end_with_parent(starter)
    stopped_by = run_apart(sweep, int(config.job), plugins)
    if stopped_by is not None and os.getpid() == starter:
        raise Stopped(stopped_by)
    if stopped_by is not None:
        # Whatever handled the signal before meets it.
        signal.raise_signal(stopped_by)


def _has_ended(sweep: Sweep, number: int) -> bool:
    return status_of(sweep.folders[number]) in {"finished", "failed", "pruned"}


def _stop_jobs(sweep: Sweep) -> None:
    """Have the jobs at work save and end, before the launcher kills its workers."""
    at_work = {folder: pid for folder in sweep.folders if (pid := owner(folder)) is not None}
    for pid in at_work.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _wait(at_work)


def _wait(folders: Iterable[Path]) -> None:
    """Wait until no process is at work in any of the folders."""
    while any(is_locked(folder) for folder in folders):
        time.sleep(POLL_SECONDS)
