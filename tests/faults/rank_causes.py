"""What goes wrong in one of several processes that train a run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_cli.assembly import prepare
from sae_cli.assembly.data import read_dataset
from sae_cli.config.schema import RunConfig
from sae_cli.core.bar import Bar
from sae_cli.core.errors import MachineError
from sae_cli.core.ranks.messages import Messages
from sae_cli.core.ranks.together import Together
from sae_cli.core.signals import SIGNALS
from sae_cli.datasets import Dataset
from sae_cli.training.iterations import Iteration
from sae_cli.training.update import Update
from tests.faults.causes import KEPT


def patch(holder: object, name: str, value: object) -> None:
    """Patch for the rest of this process, which has nothing else to do."""
    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(holder, name, value)


def at_own_step(step: int, do: Callable[[], None]) -> None:
    """Do something after a step of this process, whether or not it is the one that saves."""
    call, calls = Update.__call__, iter(range(1, step + 1))

    def patched(self: Update, *arguments: Any, **options: Any) -> Any:
        terms = call(self, *arguments, **options)
        if next(calls, None) == step:
            do()
        return terms

    patch(Update, "__call__", patched)


def at_own_iteration(number: int, do: Callable[[], None]) -> None:
    """Do something after an iteration of this process over the whole training set."""
    call, calls = Iteration.__call__, iter(range(1, number + 1))

    def patched(self: Iteration, learning_rate: float) -> Any:
        terms = call(self, learning_rate)
        if next(calls, None) == number:
            do()
        return terms

    patch(Iteration, "__call__", patched)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def fail(error: Exception) -> None:
    raise error


signal_at_own_step = {n: partial(at_own_step, 10, partial(send, n)) for n in SIGNALS}
signal_at_own_iteration = partial(at_own_iteration, 10, partial(send, signal.SIGTERM))
killed_at_own_step = partial(at_own_step, 10, partial(send, signal.SIGKILL))
out_of_memory = partial(
    at_own_step, 10, partial(fail, torch.OutOfMemoryError("CUDA out of memory"))
)
a_bug = partial(at_own_step, 10, partial(fail, KeyError("a fault of its own")))


def without_data() -> None:
    patch(prepare, "read_dataset", lambda *_, **__: fail(MachineError("no data on this machine")))


def other_data() -> None:
    patch(Dataset, "fingerprint", lambda self: "0" * 64)


def signal_while_data_are_read() -> None:
    def patched(*arguments: Any, **options: Any) -> Any:
        send(signal.SIGTERM)
        raise AssertionError("the data were read on after a signal")

    patch(prepare, "read_dataset", patched)


def killed_while_data_are_read() -> None:
    patch(prepare, "read_dataset", lambda *_, **__: send(signal.SIGKILL))


def signal_while_waiting() -> None:
    """Send the signal that ``torchrun`` sends when another process was killed."""
    wait_for_any = Messages.wait_for_any

    def patched(self: Messages, *arguments: Any) -> str | None:
        send(signal.SIGTERM)
        return wait_for_any(self, *arguments)

    patch(Messages, "wait_for_any", patched)


def file_of_its_own(fault: Callable[[Path], None], step: int, path: Path) -> None:
    """Have this process read a copy of the file, which something befalls after this step."""
    own = path.with_name("own.npy")
    shutil.copy(path, own)

    def patched(config: RunConfig, **options: Any) -> Any:
        config.parts["dataset"]["path"] = str(own)
        return read_dataset(config, **options)

    patch(prepare, "read_dataset", patched)
    if step > 0:
        at_own_step(step, partial(fault, own))
        return
    from_first = Together.from_first

    def after_preparing(self: Together, content: bytes) -> bytes:
        fault(own)
        return from_first(self, content)

    patch(Together, "from_first", after_preparing)


def bars_are_hidden() -> None:
    def patched(*arguments: Any, **options: Any) -> Any:
        assert not Bar.shown
        return read_dataset(*arguments, **options)

    patch(prepare, "read_dataset", patched)
