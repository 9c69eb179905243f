"""Several processes that train one run: whatever befalls one of them ends all, in one line."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sae_cli.core.signals import SIGNALS
from sae_cli.run_folder.layout import SWEEP
from tests.conftest import SMALL as ONE_EPOCH
from tests.conftest import slow
from tests.faults.rank_causes import (
    a_bug,
    bars_are_hidden,
    file_of_its_own,
    killed_at_own_step,
    killed_while_data_are_read,
    other_data,
    out_of_memory,
    signal_at_own_iteration,
    signal_at_own_step,
    signal_while_data_are_read,
    signal_while_waiting,
    without_data,
)
from tests.faults.runs import LAST, WORDS, saved_state, status
from tests.faults.test_data_in_use import X, cut, fill
from tests.forked import Before, Done
from tests.killing import results
from tests.ranks import run_ranks, start_ranks

NAMES = {number: signal.Signals(number).name for number in SIGNALS}
RUN = (*WORDS, "device.threads=1", "report=false", "hydra.run.dir=run")


def run(folder: Path, *before: Before | None, words: tuple[str, ...] = RUN) -> list[Done]:
    """Run in two processes, the second of which must say nothing and end by itself."""
    with start_ranks(folder, 2, *words, before=before) as started:
        return [one.wait() for one in started]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("number", [*SIGNALS[:2], *slow(SIGNALS[2:])], ids=NAMES.get)
def test_a_signal_to_one_of_them(number: signal.Signals, rank: int, tmp_path: Path) -> None:
    """All stop with a checkpoint, and the run ends as if it had not been stopped."""
    causes = [None] * rank + [signal_at_own_step[number]]
    first, second = run(tmp_path, *causes)
    # A signal to the second is known to the first at its next step.
    step = 10 + rank
    assert first.code == 128 + number
    assert first.error == (
        f"stopped by {NAMES[number]}: the last checkpoint is of step {step}; resume with: "
        "sae-train resume=run (under torchrun, with 2 processes)"
    )
    assert second == Done(0, "", "")
    assert status(tmp_path / "run") == "interrupted"
    assert saved_state(tmp_path / "run" / LAST).step == step
    run_ranks(tmp_path, 2, "resume=run")
    run_ranks(tmp_path, 2, *RUN[:-1], "hydra.run.dir=whole")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_of_them_that_see_the_whole_set(rank: int, tmp_path: Path) -> None:
    """All stop after the same iteration, although each takes several passes over its rows."""
    words = (*RUN[1:-1], "model=ae", "optimizer=lbfgs", "optimizer.iterations=4")
    causes = [None] * rank + [signal_at_own_iteration]
    first, second = run(tmp_path, *causes, words=(*words, "hydra.run.dir=run"))
    assert (first.code, second) == (143, Done(0, "", ""))
    assert saved_state(tmp_path / "run" / LAST).step == 10 + rank
    run_ranks(tmp_path, 2, "resume=run")
    run_ranks(tmp_path, 2, *words, "hydra.run.dir=whole")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_signal_to_all_of_them(tmp_path: Path) -> None:
    cause = signal_at_own_step[signal.SIGUSR1]
    first, second = run(tmp_path, cause, cause)
    assert (first.code, second) == (128 + signal.SIGUSR1, Done(0, "", ""))
    assert saved_state(tmp_path / "run" / LAST).step == 10


def test_one_that_is_killed(tmp_path: Path) -> None:
    first, _ = run(tmp_path, None, killed_at_own_step)
    assert first.code == 4
    assert first.error == (
        "error: another process of this run was lost; what was saved before is kept, and the run "
        "can be resumed"
    )
    assert status(tmp_path / "run") == "failed"
    assert [one.code for one in run_ranks(tmp_path, 2, "resume=run")] == [0, 0]


@pytest.mark.parametrize(
    ("cause", "code", "words"),
    [
        (without_data, 4, "error: process 1 of 2: no data on this machine"),
        (other_data, 2, "error: process 1 of 2: the data are not those of process 0 (digits"),
        (signal_while_data_are_read, 143, "stopped by SIGTERM"),
    ],
)
def test_a_fault_of_the_second_before_the_training(
    cause: Before, code: int, words: str, tmp_path: Path
) -> None:
    first, second = run(tmp_path, None, cause)
    assert first.code == code
    assert first.error.startswith(words)
    assert second == Done(0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_killed_before_the_training(tmp_path: Path) -> None:
    first, _ = run(tmp_path, signal_while_waiting, killed_while_data_are_read)
    assert (first.code, first.error) == (143, "stopped by SIGTERM")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "step", "said"),
    [(cut, 0, "became shorter while it was read"), (fill, 4, "was written to while it was read")],
)
def test_a_file_that_the_second_alone_cannot_read(
    fault: Callable[[Path], None], step: int, said: str, tmp_path: Path
) -> None:
    """Zeros are never learnt from; other values are noticed at the end of the last epoch, too."""
    np.save(tmp_path / "array.npy", X)
    words = ("dataset=array", "dataset.path=array.npy", "dataset.test=0.1", "batch_size=400")
    cause = partial(file_of_its_own, fault, step, tmp_path / "array.npy")
    first, second = run(tmp_path, None, cause, words=(*RUN, *words, "epochs=1"))
    assert first.code == 2
    assert first.error.startswith("error: process 1 of 2: ")
    assert said in first.error
    assert second == Done(0, "", "")
    assert status(tmp_path / "run") == "failed"
    assert saved_state(tmp_path / "run" / LAST).step == (0 if fault is cut else 3)


def test_the_second_draws_no_bar(tmp_path: Path) -> None:
    words = (*RUN, "epochs=1", "progress=true")
    assert [one.code for one in run(tmp_path, None, bars_are_hidden, words=words)] == [0, 0]


def test_a_sweep_is_not_reproduced(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / SWEEP).write_text("")
    first, second = run_ranks(tmp_path, 2, "sweep", name="sae_reproduce")
    assert first.code == 2
    assert "sweep: the jobs of a sweep train in processes of their own" in first.error
    assert second == Done(0, "", "")


def test_a_fault_of_the_second_in_a_step(tmp_path: Path) -> None:
    first, second = run(tmp_path, None, out_of_memory)
    assert first.code == 4
    assert first.error.startswith("error: process 1 of 2: out of memory; lower batch_size")
    assert second == Done(0, "", "")
    assert status(tmp_path / "run") == "failed"


def test_a_bug_of_the_second_is_shown(tmp_path: Path) -> None:
    first, second = run(tmp_path, None, a_bug)
    assert (first.code, second.code) == (1, 0)
    assert "KeyError: 'a fault of its own'" in second.err
    assert "process 1 of 2: KeyError: 'a fault of its own'" in first.err


REFUSED = {
    "compile=on trains in one process": ("model=ae", "compile=on"),
    "batch_size=1 cannot be shared by 2 processes": ("model=ae", "batch_size=1"),
    "-m: the jobs of a sweep train in processes of their own": ("-m", "model=ae,tied"),
    "did you mean": ("model=spars_kl",),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_refused(said: str, tmp_path: Path) -> None:
    first, second = run(tmp_path, words=(*ONE_EPOCH, "device=cpu", *REFUSED[said]))
    assert first.code == 2
    assert said in first.error
    assert second == Done(0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_diverges(tmp_path: Path) -> None:
    words = ("optimizer=sgd", "optimizer.learning_rate=1e30", "model=linear")
    first, second = run(tmp_path, words=(*ONE_EPOCH, "device=cpu", *words))
    assert first.code == 3
    assert "became infinite or NaN" in first.error
    assert second == Done(0, "", "")
