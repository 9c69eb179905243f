"""Runs to be killed, in processes forked from one that has imported everything."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import Stopped
from sae_cli.runs import resume, saver
from sae_cli.training import metrics
from tests import forked

RESULTS = ("model.safetensors", "metrics.jsonl")


def results(run: Path) -> list[bytes]:
    """The contents that must be the same to the bit."""
    return [(run / name).read_bytes() for name in RESULTS]


def start(config: RunConfig, run: Path, instant: str = "", count: int = 0) -> BaseProcess:
    """Begin a run or resume it; at the ``count``-th time of ``instant`` it kills itself."""
    return forked.start(_work, config, run, instant, count)


def finish(config: RunConfig, run: Path) -> float:
    """Run to the end and give the seconds that it took."""
    started = time.monotonic()
    process = start(config, run)
    process.join()
    assert process.exitcode == 0, (run / "train.log").read_text()
    return time.monotonic() - started


def kill_at_random(config: RunConfig, run: Path, random: Random, longest: float) -> bool:
    """Resume for a random time of at most ``longest`` seconds; say whether it was killed."""
    process = start(config, run)
    process.join(random.uniform(0.0, longest))
    process.kill()
    process.join()
    assert process.exitcode in {0, -signal.SIGKILL}, (run / "train.log").read_text()
    return process.exitcode != 0


def _work(config: RunConfig, run: Path, instant: str, count: int) -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if instant:
        holder, name = INSTANTS[instant]
        setattr(holder, name, _killing(getattr(holder, name), count))
    try:
        resume.begin_or_resume(config, run, [])
    except Stopped as stopped:
        sys.exit(128 + stopped.number)


def _killing(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    calls = iter(range(1, count + 1))

    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call


# A run can be killed from within just before one of these functions is called.
INSTANTS: dict[str, tuple[Any, str]] = {
    # A file is written but not yet on disk.
    "in a write": (os, "fsync"),
    # A file is written but not yet renamed; a checkpoint takes two renamings.
    "at a renaming": (Path, "replace"),
    "in an evaluation": (metrics.Metrics, "update"),
    "between stages": (saver.Saver, "save_stage"),
}
