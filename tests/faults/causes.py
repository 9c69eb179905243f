"""What goes wrong in the process of a command: limits, signals, errors."""

from __future__ import annotations

import resource
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_cli.assembly import prepare
from sae_cli.config.schema import RunConfig
from sae_cli.core.signals import SIGNALS
from sae_cli.runs import resume
from sae_cli.runs.sweeps import jobs as sweep_jobs
from tests.faults.runs import STOPPED_AT, at_step, signal_sender

KEPT = ExitStack()


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
    """Send the signal while the data are read, which may take minutes and stops at once."""

    def patched(*arguments: Any, **options: Any) -> Any:
        signal_sender(number)()
        raise AssertionError("the data were read on after a signal")

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

    def patched(config: RunConfig, path: Path, *given: Any, **options: Any) -> dict[str, Any]:
        if path.name.startswith("1_"):
            raise RuntimeError("a fault of its own")
        return begin(config, path, *given, **options)

    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(sweep_jobs, "begin_or_resume", patched)
