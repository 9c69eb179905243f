"""The command in processes forked from one that has imported everything: real exit codes and real
output, without the seconds that the imports take."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from sae_cli.__main__ import sae_train
from sae_cli.assembly import data, prepare
from sae_cli.commands import train as cli  # noqa: F401
from sae_cli.config.schema import RunConfig
from sae_cli.core.signals import SIGNALS
from sae_cli.runs import resume
from sae_cli.runs.sweeps import jobs as sweep_jobs
from sae_cli.runs.sweeps import sweep  # noqa: F401
from tests.faults.runs import STOPPED_AT, at_step, signal_sender
from tests.killing import CONTEXT

# This comes after tests.killing, which names itself alone.
CONTEXT.set_forkserver_preload(["tests.killing", "tests.faults.forked", "tests.faults.claims"])

Before = Callable[[], None]
KEPT = ExitStack()


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code (-n when signal n killed it) and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on the standard error."""
        (line,) = self.err.splitlines()
        return line


@dataclass(frozen=True)
class Forked:
    """Starts commands.

    Args:
        cwd: the folder to start them in.
    """

    cwd: Path

    def __call__(self, *arguments: str, before: Before | None = None) -> Done:
        """Run a command to its end.

        Args:
            before: called in its process before it begins; a function of a module.
        """
        with TemporaryDirectory() as folder:
            process = self.start(*arguments, before=before, printed=Path(folder))
            process.join()
            assert process.exitcode is not None
            out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
            return Done(process.exitcode, out, err)

    def start(self, *arguments: str, before: Before | None, printed: Path) -> BaseProcess:
        """Start a command; what it prints goes to the files ``out`` and ``err``."""
        process: BaseProcess = CONTEXT.Process(
            target=_work, args=(arguments, self.cwd, before, printed)
        )
        process.start()
        return process


def _work(arguments: tuple[str, ...], cwd: Path, before: Before | None, printed: Path) -> None:
    os.chdir(cwd)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(printed / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = ["sae-train", *arguments]
    if before is not None:
        before()
    sae_train()


def limit_files() -> None:
    """Limit files, printed output included, to 20 kB, less than a checkpoint."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def limit_memory() -> None:
    """Limit memory to 64 MiB beyond the present use."""
    kilobytes = next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    most = kilobytes * 1024 + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _at_step(number: int, times: int = 1) -> None:
    def send() -> None:
        for _ in range(times):
            signal_sender(number)()

    # The patch is never undone: the process has nothing else to do.
    KEPT.enter_context(at_step(STOPPED_AT, send))


def _before_training(number: int) -> None:
    """Send the signal while the data are read."""
    read = data.read_dataset

    def patched(*arguments: Any, **options: Any) -> Any:
        signal_sender(number)()
        return read(*arguments, **options)

    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(prepare, "read_dataset", patched)


# These send a signal: after the step STOPPED_AT, and before the training.
signal_at_step = {number: partial(_at_step, number) for number in SIGNALS}
signal_before_training = {number: partial(_before_training, number) for number in SIGNALS}
sigint_twice = partial(_at_step, signal.SIGINT, 2)
sigkill = partial(_at_step, signal.SIGKILL)


def _error_at_step(error: Exception) -> None:
    def fail() -> None:
        raise error

    KEPT.enter_context(at_step(STOPPED_AT, fail))


gpu_error = {
    "allocator": partial(_error_at_step, torch.OutOfMemoryError("CUDA out of memory. Tried to")),
    "driver": partial(_error_at_step, RuntimeError("CUDA error: out of memory")),
    "library": partial(_error_at_step, RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when")),
}


def raise_in_job() -> None:
    """Make the second job of a sweep fail, as by a bug."""
    begin = resume.begin_or_resume

    def patched(config: RunConfig, path: Path, overrides: list[str]) -> dict[str, Any]:
        if path.name.startswith("1_"):
            raise RuntimeError("a fault of its own")
        return begin(config, path, overrides)

    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(sweep_jobs, "begin_or_resume", patched)
