"""The jobs of a sweep side by side: in groups, one to a core or a GPU, each in its own process.

The jobs of a group share one thread and what was read of the data. They meet at each step where
their networks can be stacked, and train on while others wait for the disk. Each leaves what it
leaves alone, to the bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, final

import torch

from sae_cli.assembly.compute import AVAILABLE_THREADS, has_short_steps, use_threads
from sae_cli.assembly.data import read_dataset, read_once
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError, SaeError
from sae_cli.core.text import counted
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.results.finished import has_finished
from sae_cli.runs.sweeps.groups import Group, Groups, Tells
from sae_cli.runs.sweeps.jobs import Launcher, OneByOne, run_job, tell
from sae_cli.runs.sweeps.pace import Pace
from sae_cli.runs.sweeps.sweep import Sweep

# More gain little, and each keeps its network, gradients and moments in memory.
MOST_IN_GROUP = 16
# The steps of so many cost a GPU a few times one, and Python some milliseconds for each stretch.
MOST_ON_GPU = 128
# Fewer jobs are run one by one unless asked for: a person may want to read what each says.
FEWEST = 4


def threads_for(together: str) -> int:
    """How many threads a long step takes in a sweep that begins with this ``sweep.together``."""
    return 1 if together == "on" else AVAILABLE_THREADS


def check_search_alone(together: str) -> None:
    """Raise ConfigError if the jobs of a search are to train side by side."""
    if together == "on":
        raise ConfigError(
            "sweep.together=on: a search learns from each job before it chooses the next; leave "
            "it out"
        )


def launcher_for(sweep: Sweep, together: str) -> Launcher:
    """Choose how the jobs of a sweep run, for ``sweep.together``: ``auto``, ``on`` or ``off``.

    Raises:
        ConfigError: the jobs of a search are to train side by side.
    """
    if sweep.search is not None:
        check_search_alone(together)
    few = together == "auto" and len(sweep.jobs) < FEWEST
    alone = few or together == "off" or sweep.search is not None
    return OneByOne() if alone else SideBySide()


@final
class SideBySide(Launcher):
    """Runs the jobs in groups, on all cores; or one by one, and says why.

    Args:
        cores: how many it takes.
        pace: makes what tells how far the sweep is, as ``Pace``.
        announced: whether it was said before how many jobs train, and where what they say is.
    """

    def __init__(
        self,
        cores: int = AVAILABLE_THREADS,
        pace: Callable[[Sweep, Sequence[Mapping[str, Any]]], Tells] = Pace,
        *,
        announced: bool = False,
    ) -> None:
        self._cores = cores
        self._pace = pace
        self._announced = announced

    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        """Run these jobs."""
        with read_once():
            reason = why_not(sweep)
            if reason is None:
                gpu = on_gpu(sweep)
                groups = divide(sweep, numbers, 1 if gpu else self._cores, on_gpu=gpu)
                for number in {*numbers}.difference(*groups):
                    # It has finished, and says so.
                    run_job(sweep, number)
                if groups and not self._announced:
                    n, cores = sum(map(len, groups)), min(len(groups), AVAILABLE_THREADS)
                    where = "in one pass on a GPU" if gpu else f"on {counted(cores, 'core')}"
                    line = f"{counted(n, 'job')} side by side {where}"
                    tell(sweep, f"{line}; train.log has what each says")
                Groups(sweep, groups, self._pace, on_gpu=gpu).run()
                return
        tell(sweep, f"the jobs run one by one, because {reason}")
        OneByOne().launch(sweep, numbers)


def why_not(sweep: Sweep) -> str | None:
    """Say why the jobs of a sweep cannot go on side by side, if they cannot."""
    if sys.platform != "linux":
        return "a fork may compute on Linux only"
    if on_gpu(sweep):
        return _why_not_on_gpu(sweep)
    devices = [job.config.parts["device"] for job in sweep.jobs]
    if any(one["threads"] not in {None, 1} for one in devices):
        return "device.threads gives each more than one thread"
    if any(job.config.settings.profile for job in sweep.jobs):
        return "profile=true looks at one alone"
    # A fork does not take the threads of a pool with it.
    use_threads(1)
    like = {network(job.config): job.config for job in sweep.jobs}
    one_source = len({repr(config.parts["dataset"]) for config in like.values()}) == 1
    for config in like.values():
        try:
            with nullcontext() if one_source else read_once(), bus_errors_raised():
                if reason := _why_not_one(config, sweep.threads):
                    return reason
        except (SaeError, OSError):
            # The job itself says what is wrong.
            continue
    return None


def on_gpu(sweep: Sweep) -> bool:
    """Whether jobs of a sweep compute on a GPU."""
    names = {job.config.parts["device"]["name"] for job in sweep.jobs}
    return names != {"cpu"} and torch.cuda.is_available()


def _why_not_on_gpu(sweep: Sweep) -> str | None:
    devices = [job.config.parts["device"] for job in sweep.jobs]
    if any(one["name"] == "cpu" for one in devices):
        return "some are on a GPU and some are not"
    if len({one["precision"] for one in devices}) > 1:
        return "a process computes in one device.precision"
    if any(job.config.settings.profile for job in sweep.jobs):
        return "profile=true looks at one alone"
    if sweep.threads != 1:
        return "a GPU takes them one at a time (begun with sweep.together=on: in one pass)"
    return None


def _why_not_one(config: RunConfig, threads: int | None) -> str | None:
    data = read_dataset(config, download=False)
    if threads == 1 or config.parts["device"]["threads"] is not None:
        return None
    if has_short_steps(config, build_training(config, build_parts(config), data)):
        return None
    own = "as many threads as there are" if threads is None else f"{threads} threads"
    return f"their steps are long, and take {own} (begun with sweep.together=on: one)"


def divide(
    sweep: Sweep, numbers: Sequence[int], n_cores: int, *, on_gpu: bool = False
) -> list[Group]:
    """Divide those of the jobs that have not finished into groups, like networks together."""
    left = [n for n in numbers if not has_finished(sweep.folders[n])]
    if not left:
        return []
    left.sort(key=lambda n: network(sweep.jobs[n].config))
    # With as many groups for each core, no core waits long for another.
    most = MOST_ON_GPU if on_gpu else MOST_IN_GROUP
    n_groups = min(len(left), -(-len(left) // (most * n_cores)) * n_cores)
    borders = [len(left) * i // n_groups for i in range(n_groups + 1)]
    return [left[start:end] for start, end in pairwise(borders)]


def network(config: RunConfig) -> str:
    """Name what jobs have in common whose networks can be stacked, and the length of a step."""
    names = [part["name"] for part in config.parts.values()]
    own = config.parts["dataset"], config.parts["architecture"], config.settings.batch_size
    return repr((*own, names))
