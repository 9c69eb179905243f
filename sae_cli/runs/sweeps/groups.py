"""Groups of the jobs of a sweep: each in a process of its own, started by that of the sweep."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, final

from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.assembly.data import read_once
from sae_cli.core.company import run_side_by_side
from sae_cli.core.errors import Crowded, MovedError, SaeError, Stopped
from sae_cli.core.plugins.loaded import LOADED, Plugin
from sae_cli.core.plugins.loading import load_again
from sae_cli.core.signals import (
    handle_signals,
    let_signals_in,
    signals_held,
    stopping_at_once,
    stopping_together,
)
from sae_cli.core.text import counted
from sae_cli.datasets.formats.bus_errors import bus_errors_met
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import STATUS, status_of
from sae_cli.run_folder.lock import check_in_place
from sae_cli.runs.sweeps.job_process import (
    CONTEXT,
    POLL_SECONDS,
    SPAWN,
    end_with_parent,
    how_it_died,
    pass_on,
)
from sae_cli.runs.sweeps.jobs import RESULTS_SECONDS, record_failure, run_job
from sae_cli.runs.sweeps.results import write_results
from sae_cli.runs.sweeps.sweep import Sweep

Group = list[int]


class Tells(Protocol):
    """What tells how far a sweep is."""

    def tell(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Tell it; ``rows`` as ``write_results`` gives them."""

    def end(self) -> None:
        """Come to an end."""


@final
class Groups:
    """The groups of a sweep, those that wait and those at work.

    A group whose process dies, as when memory ends, is divided, and its halves go on from their
    checkpoints; a job that dies alone has failed.

    Args:
        groups: the numbers of the jobs of each.
        pace: makes what tells how far the sweep is, of the sweep and its results.
        on_gpu: whether they compute on a GPU, which has one group at a time.
    """

    def __init__(
        self,
        sweep: Sweep,
        groups: Sequence[Group],
        pace: Callable[[Sweep, Sequence[Mapping[str, Any]]], Tells],
        *,
        on_gpu: bool = False,
    ) -> None:
        self._sweep = sweep
        self._pace = pace
        self._at_a_time = 1 if on_gpu else AVAILABLE_THREADS
        # A process that has looked for a GPU cannot be forked into one that computes on it.
        self._context = SPAWN if on_gpu else CONTEXT
        self._plugins = [*LOADED.values()] if on_gpu else []
        self._waiting = deque(groups)
        self._at_work: dict[BaseProcess, Group] = {}
        self._received: list[int] = []

    def run(self) -> None:
        """Run all groups to their ends, at most as many at a time as there are cores, or GPUs.

        Raises:
            Stopped: a signal asked to.
            MovedError: the folder of the sweep was moved.
            OSError: the results cannot be written.
        """
        with handle_signals(lambda number, frame: self._received.append(number)):
            try:
                self._work()
            except BaseException:
                # A sweep that has ended leaves no job at work.
                self._pass_on(signal.SIGTERM)
                for process in self._at_work:
                    process.join()
                raise
        if self._received:
            raise Stopped(self._received[0])

    def _work(self) -> None:
        pace = self._pace(self._sweep, write_results(self._sweep))
        written, passed_on = time.monotonic(), 0
        while self._at_work or (self._waiting and not self._received):
            self._begin()
            wait([process.sentinel for process in self._at_work], POLL_SECONDS)
            self._end()
            for number in self._received[passed_on:]:
                self._pass_on(number)
            passed_on = len(self._received)
            if self._at_work and time.monotonic() - written >= RESULTS_SECONDS:
                pace.tell(write_results(self._sweep))
                written = time.monotonic()
        pace.end()

    def _begin(self) -> None:
        while self._waiting and not self._received and len(self._at_work) < self._at_a_time:
            group = self._waiting.popleft()
            given = (self._sweep, group, os.getpid(), self._plugins)
            process = self._context.Process(target=_run, args=given)
            try:
                if self._context is SPAWN:
                    # The first process that is started so starts another, which lets signals in.
                    resource_tracker.ensure_running()
                with signals_held():
                    process.start()
            except OSError as error:
                for number in group:
                    record_failure(self._sweep, number, str(error))
            else:
                self._at_work[process] = group

    def _pass_on(self, number: int) -> None:
        for process in self._at_work:
            pass_on(process, number)

    def _end(self) -> None:
        for process in [one for one in self._at_work if one.exitcode is not None]:
            group = self._at_work.pop(process)
            if process.exitcode == MovedError.exit_code:
                check_in_place(self._sweep.path)
            if (how := how_it_died(process.exitcode or 0)) is not None:
                left = [n for n in group if _is_left(self._sweep, n, process.pid)]
                crowded = process.exitcode == Crowded.exit_code and len(group) > 1
                self._go_on(left, how, alone=crowded)

    def _go_on(self, left: Group, how: str, *, alone: bool) -> None:
        """Go on with the jobs that a process left when it died.

        Args:
            alone: whether the last of several goes on as well, now that it has all the memory.
        """
        half = len(left) // 2
        if half:
            line = f"the process of {counted(len(left), 'job')} {how}; they go on in two halves"
            print(f"error in the sweep: {line}", file=sys.stderr, flush=True)
            self._waiting += [left[:half], left[half:]]
        elif left and alone:
            self._waiting.append(left)
        elif left:
            record_failure(self._sweep, left[0], f"its process {how}")


def _is_left(sweep: Sweep, number: int, process: int | None) -> bool:
    """Whether a job has not ended in a process, and no other is at work on it."""
    status = status_of(sweep.folders[number])
    if status == "failed":
        # It may have failed when the sweep was begun, and not been tried again yet.
        return read_json(sweep.folders[number] / STATUS).get("pid") != process
    return status in {"waiting", "interrupted"}


def _run(sweep: Sweep, group: Group, parent: int, plugins: Sequence[Plugin]) -> None:
    """Be the process of a group."""
    try:
        with stopping_at_once():
            let_signals_in()
            end_with_parent(parent)
            load_again(plugins)
            with read_once(), stopping_together(), bus_errors_met():
                run_side_by_side([partial(run_job, sweep, number) for number in group])
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except Crowded as crowded:
        # The process of the sweep divides the group.
        sys.exit(crowded.exit_code)
    except MovedError as moved:
        # The process of the sweep says so.
        sys.exit(moved.exit_code)
    except (SaeError, OSError, RuntimeError) as error:
        # The machine gives no thread, say; a job that has begun has its own end.
        for number in group:
            if _is_left(sweep, number, os.getpid()):
                record_failure(sweep, number, str(error))
