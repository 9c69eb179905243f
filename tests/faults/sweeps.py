"""Sweeps whose jobs train side by side, to be killed or stopped, and what they leave."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_cli.model.objective import Terms
from sae_cli.run_folder.checkpoints import unpack
from sae_cli.runs import saver
from tests.faults.file_calls import outcome
from tests.forked import Started
from tests.runs.test_captured_runs import as_on_a_gpu

KEPT = ExitStack()
SMALL = ("dataset.test=1500", "device=cpu", "pictures=false", "progress=false", "report=false")
# Two of the twelve jobs diverge at their first steps.
RATES = "optimizer.learning_rate=0.01,0.02,0.05,1e30,0.1,0.2"
TWELVE = (
    *("-m", "model=sparse_kl", "optimizer=adam", *SMALL, "checkpoint_steps=5", "epochs=4"),
    *(RATES, "seed=0,1", "hydra.sweep.dir=sweep"),
)
DIVERGE = (6, 7)
TOGETHER = "sweep.together=on"


def job(sweep: Path, number: int) -> Path:
    """The folder of a job."""
    (found,) = sweep.glob(f"{number}_*")
    return found


def statuses(sweep: Path) -> list[str | None]:
    """What the folder of each job says about it, in their order; None where it does not."""
    folders = sorted(sweep.glob("[0-9]*_*"), key=lambda path: int(path.name.split("_")[0]))
    files = [folder / "status.json" for folder in folders]
    return [json.loads(file.read_text())["status"] if file.exists() else None for file in files]


def everything(sweep: Path) -> dict[str, Any]:
    """Give every file of a sweep, and of checkpoints what does not change with time."""
    found = outcome(sweep)
    for path in sweep.glob("*/checkpoints/*.pt"):
        state = unpack(path.read_bytes(), str(path)).state_dict() | {"seconds": None}
        found[str(path.relative_to(sweep))] = _plain(state)
    return found


def _plain(value: Any) -> Any:
    """Give bytes in place of tensors, which have no equality of their own."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [*map(_plain, value)] if isinstance(value, list) else value


def differing(one: Path, other: Path) -> list[str]:
    """Name the files that differ between two sweeps."""
    first, second = everything(one), everything(other)
    return [key for key in {**first, **second} if first.get(key) != second.get(key)]


def children(process: int | None) -> list[int]:
    """The processes that a process has started, in their order."""
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def groups(started: Started, n: int = 1) -> list[int]:
    """Wait for the processes of ``n`` groups of a sweep."""
    return started.until(
        lambda: found if len(found := children(started.process.pid)) >= n else None
    )


def all_at_work(sweep: Path, n: int) -> Callable[[], bool]:
    """Tell whether so many jobs have lines of metrics, and are past their beginnings."""
    return lambda: len([*sweep.glob("*/metrics.jsonl")]) >= n


def at_step_of(number: int, step: int, do: Callable[[], None], times: int = 1 << 30) -> None:
    """Do something whenever a job has taken this step, in whichever process; for a ``before``."""
    after = saver.Saver.after_step

    def patched(self: saver.Saver, terms: Terms, n: int) -> None:
        path = self._run.folder.path
        if path.name.startswith(f"{number}_") and self._run.progress.step == step - 1:
            log = path.parent.with_name("times")
            with log.open("a") as file:
                file.write("x")
            if log.stat().st_size <= times:
                do()
        after(self, terms, n)

    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(saver.Saver, "after_step", patched)


def send(number: int) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def pretend_a_gpu() -> None:
    """Have jobs of a group take their steps in one pass, on pretended graphs; for a ``before``."""
    as_on_a_gpu(KEPT.enter_context(pytest.MonkeyPatch.context()), captured=True)
