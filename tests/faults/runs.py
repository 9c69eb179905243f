"""Small runs that are stopped at a step, and their folders."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import Stopped
from sae_cli.model.objective import Terms
from sae_cli.run_folder.checkpoints import pack, unpack
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs import saver
from sae_cli.runs.resume import begin_or_resume, resume
from sae_cli.training.step import Step
from tests.configured import configured
from tests.killing import results

# The runs see 97 digits in 16 steps of 4 epochs; noise and moments give a run much to remember.
WORDS = (
    *("model=denoising", "optimizer=adam", "dataset.test=1500", "epochs=4", "checkpoint_steps=3"),
    *("device=cpu", "pictures=false", "progress=false"),
)
# The stop is within the third epoch; the checkpoint before is of step 8.
STOPPED_AT, SAVED_BEFORE = 10, 8
LAST, PREVIOUS = "checkpoints/last.pt", "checkpoints/previous.pt"

After = Callable[[saver.Saver, Terms, int], None]


def config_of(*overrides: str) -> RunConfig:
    """Check the configuration that these overrides of ``WORDS`` make."""
    return configured(*WORDS, *overrides)


@contextmanager
def at_step(step: int, do: Callable[[], None]) -> Iterator[None]:
    """Do something when a training has taken a step and has not looked for signals yet."""
    after: After = saver.Saver.after_step

    def patched(saver: saver.Saver, terms: Terms, n: int) -> None:
        if saver._run.progress.step == step - 1:
            do()
        after(saver, terms, n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver.Saver, "after_step", patched)
        yield


@contextmanager
def in_step(step: int, do: Callable[[Step], None]) -> Iterator[None]:
    """Do something at the end of a step, after the weights have moved."""
    take = Step.__call__
    steps = iter(range(1, step + 1))

    def patched(self: Step, *given: Any) -> Terms:
        terms = take(self, *given)
        if next(steps, None) == step:
            do(self)
        return terms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "__call__", patched)
        yield


def signal_sender(number: int) -> Callable[[], None]:
    """Make a function that sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def stop(config: RunConfig, run: Path, step: int = STOPPED_AT) -> None:
    """Begin a run and stop it by a signal after this many steps."""
    with at_step(step, signal_sender(signal.SIGTERM)), pytest.raises(Stopped):
        begin_or_resume(config, run, [])


def finish_like(run: Path, whole: Path, **changes: Any) -> None:
    """Resume a run, and check that it ends with the bits of one that was never stopped."""
    resume(run, changes)
    assert results(run) == results(whole)
    assert status(run) == "finished"


def status(run: Path) -> str:
    """The run's status, as its folder states it."""
    return str(json.loads((run / "status.json").read_text())["status"])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, by its path in the folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def saved_state(file: Path) -> TrainState:
    """The state that a checkpoint holds."""
    return unpack(file.read_bytes(), str(file))


def rewrite(file: Path, **changes: Any) -> None:
    """Change a checkpoint as somebody who knows its format can."""
    file.write_bytes(pack(saved_state(file).state_dict() | changes))
