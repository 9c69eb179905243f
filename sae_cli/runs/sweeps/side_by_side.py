"""The jobs of a sweep side by side: in groups, one to a core, each in a process of its own.

The jobs of a group share one thread and what was read of the data. They meet at each step where
their networks can be stacked, and train on while others wait for the disk. Each leaves what it
leaves alone, to the bit.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import final

import torch

from sae_cli.assembly.compute import AVAILABLE_THREADS, has_short_steps, use_threads
from sae_cli.assembly.data import read_dataset, read_once
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.config.schema import RunConfig
from sae_cli.core.company import run_side_by_side
from sae_cli.core.errors import SaeError, Stopped
from sae_cli.core.signals import handle_signals, stopping_at_once, stopping_together
from sae_cli.core.text import counted, say
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.results.finished import has_finished
from sae_cli.run_folder.layout import status_of
from sae_cli.runs.sweeps.job_process import (
    CONTEXT,
    POLL_SECONDS,
    end_with_parent,
    how_it_died,
    pass_on,
)
from sae_cli.runs.sweeps.jobs import (
    RESULTS_SECONDS,
    Launcher,
    OneByOne,
    record_failure,
    run_job,
)
from sae_cli.runs.sweeps.pace import Pace
from sae_cli.runs.sweeps.results import write_results
from sae_cli.runs.sweeps.sweep import Sweep

# More gain little, and each keeps its network, gradients and moments in memory.
MOST_IN_GROUP = 16
# Fewer jobs are run one by one unless asked for: a person may want to read what each says.
FEWEST = 4
# Nothing is left to do for such a job.
ENDED = ("finished", "failed")

Group = list[int]


def threads_for(together: str) -> int:
    """How many threads a long step takes in a sweep that begins with this ``sweep.together``."""
    return 1 if together == "on" else AVAILABLE_THREADS


def launcher_for(sweep: Sweep, together: str) -> Launcher:
    """Choose how the jobs of a sweep run, for ``sweep.together``: ``auto``, ``on`` or ``off``."""
    few = together == "auto" and len(sweep.jobs) < FEWEST
    return OneByOne() if few or together == "off" else SideBySide()


@final
class SideBySide(Launcher):
    """Runs the jobs in groups, on all cores; or one by one, and says why."""

    def launch(self, sweep: Sweep) -> None:
        """Run every job.

        A group whose process dies, as when memory ends, is divided, and its halves go on from
        their checkpoints; a job that dies alone has failed.
        """
        with read_once():
            if reason := _why_not(sweep):
                if not sweep.quiet:
                    say(f"the jobs run one by one, because {reason}")
                OneByOne().launch(sweep)
            else:
                _Groups(sweep).run()


def _why_not(sweep: Sweep) -> str | None:
    """Say why the jobs of a sweep cannot go on side by side, if they cannot."""
    if sys.platform != "linux":
        return "a fork may compute on Linux only"
    devices = [job.config.parts["device"] for job in sweep.jobs]
    if any(one["name"] != "cpu" for one in devices) and torch.cuda.is_available():
        return "a GPU takes them one at a time (device=cpu trains them side by side)"
    if any(one["threads"] not in {None, 1} for one in devices):
        return "device.threads gives each more than one thread"
    # A fork does not take the threads of a pool with it.
    use_threads(1)
    like = {network(job.config): job.config for job in sweep.jobs}
    one_source = len({repr(config.parts["dataset"]) for config in like.values()}) == 1
    for config in like.values():
        try:
            with nullcontext() if one_source else read_once():
                if reason := _why_not_one(config, sweep.threads):
                    return reason
        except (SaeError, OSError):
            # The job itself says what is wrong.
            continue
    return None


def _why_not_one(config: RunConfig, threads: int) -> str | None:
    data = read_dataset(config, download=False)
    if threads == 1 or config.parts["device"]["threads"] is not None:
        return None
    if has_short_steps(config, build_training(config, build_parts(config), data)):
        return None
    return f"their steps are long, and take {threads} threads (sweep.together=on: one)"


@final
class _Groups:
    """The groups of a sweep, those that wait and those at work."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._waiting = deque(divide(sweep, AVAILABLE_THREADS))
        self._at_work: dict[BaseProcess, Group] = {}
        self._received: list[int] = []

    def run(self) -> None:
        if not self._sweep.quiet and (n := sum(map(len, self._waiting))):
            cores = counted(min(len(self._waiting), AVAILABLE_THREADS), "core")
            say(f"{counted(n, 'job')} side by side on {cores}; train.log has what each says")
        pace = Pace(self._sweep, write_results(self._sweep))
        written, passed_on = time.monotonic(), 0
        with handle_signals(lambda number, frame: self._received.append(number)):
            while self._at_work or (self._waiting and not self._received):
                self._begin()
                wait([process.sentinel for process in self._at_work], POLL_SECONDS)
                self._end()
                for number in self._received[passed_on:]:
                    for process in self._at_work:
                        pass_on(process, number)
                passed_on = len(self._received)
                if self._at_work and time.monotonic() - written >= RESULTS_SECONDS:
                    pace.tell(write_results(self._sweep))
                    written = time.monotonic()
        pace.end()
        if self._received:
            raise Stopped(self._received[0])

    def _begin(self) -> None:
        while self._waiting and not self._received and len(self._at_work) < AVAILABLE_THREADS:
            group = self._waiting.popleft()
            process = CONTEXT.Process(target=_run, args=(self._sweep, group, os.getpid()))
            process.start()
            self._at_work[process] = group

    def _end(self) -> None:
        for process in [one for one in self._at_work if one.exitcode is not None]:
            group = self._at_work.pop(process)
            if (how := how_it_died(process.exitcode or 0)) is not None:
                self._go_on_after(group, how)

    def _go_on_after(self, group: Group, how: str) -> None:
        left = [n for n in group if status_of(self._sweep.folders[n]) not in ENDED]
        if len(left) == 1:
            record_failure(self._sweep, left[0], f"its process {how}")
        elif left:
            line = f"the process of {counted(len(left), 'job')} {how}; they go on in two halves"
            print(f"error in the sweep: {line}", file=sys.stderr, flush=True)
            half = len(left) // 2
            self._waiting += [left[:half], left[half:]]


def divide(sweep: Sweep, n_cores: int) -> list[Group]:
    """Divide the jobs that have not finished into groups, with like networks together."""
    left = [n for n, folder in enumerate(sweep.folders) if not has_finished(folder)]
    if not left:
        return []
    left.sort(key=lambda n: network(sweep.jobs[n].config))
    # With as many groups for each core, no core waits long for another.
    n_groups = min(len(left), -(-len(left) // (MOST_IN_GROUP * n_cores)) * n_cores)
    borders = [len(left) * i // n_groups for i in range(n_groups + 1)]
    return [left[start:end] for start, end in pairwise(borders)]


def network(config: RunConfig) -> str:
    """Name what jobs have in common whose networks can be stacked, and the length of a step."""
    names = [part["name"] for part in config.parts.values()]
    own = config.parts["dataset"], config.parts["architecture"], config.settings.batch_size
    return repr((*own, names))


def _run(sweep: Sweep, group: Group, parent: int) -> None:
    """Be the process of a group."""
    try:
        with stopping_at_once():
            end_with_parent(parent)
            with stopping_together() as stop, bus_errors_raised(stop):
                run_side_by_side([partial(run_job, sweep, number) for number in group])
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except (SaeError, OSError, RuntimeError) as error:
        # The machine gives no thread, say; a job that has begun has its own end.
        for number in group:
            if status_of(sweep.folders[number]) not in ENDED:
                record_failure(sweep, number, str(error))
