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

from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.commands.queue_launcher import QUEUES, QueueLauncher
from sae_cli.config.compose import hydra_ready
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import compose_launcher
from sae_cli.config.launcher_options import check_joblib, options_of
from sae_cli.config.typed_text import quote
from sae_cli.core.errors import Stopped, in_one_line
from sae_cli.core.plugins.loaded import LOADED, Plugin
from sae_cli.core.signals import handle_signals
from sae_cli.core.text import counted
from sae_cli.run_folder.layout import status_of
from sae_cli.run_folder.lock import is_locked, owner
from sae_cli.runs.sweeps.groups import Group
from sae_cli.runs.sweeps.job_process import (
    POLL_SECONDS,
    Work,
    end_with_parent,
    record_failures,
    run_apart,
)
from sae_cli.runs.sweeps.jobs import Launcher
from sae_cli.runs.sweeps.sent import to_send
from sae_cli.runs.sweeps.sweep import Sweep

GROUP, HYDRAS_OWN = "hydra/launcher=", "basic"
# Other launchers may start jobs on other machines.
OF_THIS_MACHINE = {HYDRAS_OWN, "joblib", "submitit_local"}
# A machine that keeps killing workers has not the memory for so many at a time.
MOST_LAUNCHES = 4


@final
class HydraLauncher(Launcher):
    """A launcher that is chosen with ``hydra/launcher=NAME``.

    Args:
        words: the overrides that choose it and set its options.
        pages: the user's own folder of pages, if any.
        grouped: whether it is sent groups of jobs that train side by side.
    """

    def __init__(self, words: Sequence[str], pages: Path | None, *, grouped: bool) -> None:
        self.elsewhere = _chosen(words) not in OF_THIS_MACHINE
        self._grouped = grouped
        self._words = words
        self._pages = pages
        self._jobs_go_on = False

    def check(self) -> None:
        """Raise ConfigError if the launcher does not take these options."""
        if _chosen(self._words) != "joblib":
            return
        with hydra_ready(self._pages), explain_errors():
            config = compose_launcher(self._words)
        check_joblib(options_of(config))

    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        """Run these jobs or groups, each in a process of its own, which a worker starts.

        What the launcher itself raises is shown, and ends no job that another process is at.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            # Workers that this process has started end with it; those of a cluster do not.
            self._jobs_go_on = not active_children()
            if not self._jobs_go_on:
                _stop_jobs(sweep)
            raise Stopped(number)

        with hydra_ready(self._pages) as hydra:
            folder = f"hydra.sweep.dir={quote(str(sweep.path))}"
            with explain_errors():
                config = compose_launcher([*self._words, folder])
            at_a_time = _at_a_time(config) if self._grouped else None
            groups, work = to_send(sweep, numbers, at_a_time)
            with handle_signals(stop):
                with explain_errors():
                    launcher = Plugins.instance().instantiate_launcher(
                        hydra_context=HydraContext(hydra.config_loader, Callbacks()),
                        task_function=partial(_run, sweep, os.getpid(), work, [*LOADED.values()]),
                        config=config,
                    )
                _launch_all(launcher, sweep, groups)

    def left(self, sweep: Sweep) -> str:
        """Say which jobs the processes of a launcher are left with."""
        if not self._jobs_go_on:
            return super().left(sweep)
        numbers = [str(n) for n, folder in enumerate(sweep.folders) if is_locked(folder)]
        at_work = f" (at work: {', '.join(numbers)})" if numbers else ""
        return f"the launcher's processes may go on with all jobs{at_work}; when they have ended,"


def launcher_of(words: Sequence[str], pages: Path | None, together: str) -> Launcher:
    """Give the launcher that words of the command line choose, which have been composed before.

    Args:
        together: what ``sweep.together`` is.

    Raises:
        ConfigError: it cannot be used here, or not with these options.
    """
    grouped = together == "on"
    kind = QUEUES.get(_chosen(words))
    launcher: HydraLauncher | QueueLauncher
    if kind is None:
        launcher = HydraLauncher(words, pages, grouped=grouped)
    else:
        launcher = QueueLauncher(kind, words, pages, grouped=grouped)
    launcher.check()
    return launcher


def _chosen(words: Sequence[str]) -> str:
    chosen = [word.removeprefix(GROUP) for word in words if word.startswith(GROUP)]
    return chosen[-1] if chosen else HYDRAS_OWN


def _at_a_time(config: DictConfig) -> int:
    """Give how many jobs a launcher runs at a time, if it is joblib's; 1 if it does not say."""
    given: int = config.hydra.launcher.get("n_jobs", 1)
    # Of joblib, -1 is all cores, and -2 all but one.
    return given if given > 0 else max(1, AVAILABLE_THREADS + 1 + given)


def _launch_all(launcher: HydrasOwn, sweep: Sweep, groups: Sequence[Group]) -> None:
    """Launch these groups, and wait until they have ended, whatever the launcher itself raises."""
    try:
        if groups:
            _launch(launcher, sweep, groups)
    except Exception as error:
        # A launcher is another project's, and any error may come from it.
        text = str(error).partition("\n")[0]
        say = in_one_line(f"error in the launcher: {type(error).__name__}: {text}")
        print(say, file=sys.stderr, flush=True)
    _wait(sweep.folders)


def _launch(launcher: HydrasOwn, sweep: Sweep, groups: Sequence[Group]) -> None:
    """Launch these groups, and again what ended with the worker of another."""
    for launches_left in reversed(range(MOST_LAUNCHES)):
        try:
            _launch_once(launcher, sweep, groups)
            return
        except BrokenExecutor:
            # When one of its workers dies, joblib kills the others, and can start new ones.
            _wait(sweep.folders)
            left = [[n for n in group if not _has_ended(sweep, n)] for group in groups]
            groups = [group for group in left if group]
            if not groups:
                return
            if not launches_left:
                raise
        print(
            "error in the launcher: one of its workers died, and the others with it; launching "
            f"again what has not ended ({counted(sum(map(len, groups)), 'job')})",
            file=sys.stderr,
            flush=True,
        )


def _launch_once(launcher: HydrasOwn, sweep: Sweep, groups: Sequence[Group]) -> None:
    # Hydra composes nothing for a job but its number, or those of a group.
    jobs = [[f"+jobs=[{','.join(map(str, group))}]"] for group in groups]
    for group, done in zip(groups, launcher.launch(jobs, initial_job_idx=0), strict=True):
        if done.status is JobStatus.FAILED:
            record_failures(sweep, group, in_one_line(str(done._return_value)))


def _run(
    sweep: Sweep, starter: int, work: Work, plugins: Sequence[Plugin], config: DictConfig
) -> None:
    if os.getppid() == starter:
        end_with_parent(starter)
    stopped_by = run_apart(sweep, [*config.jobs], work, plugins)
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
    for pid in {*at_work.values()}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _wait(at_work)


def _wait(folders: Iterable[Path]) -> None:
    """Wait until no process is at work in any of the folders."""
    while any(is_locked(folder) for folder in folders):
        time.sleep(POLL_SECONDS)
