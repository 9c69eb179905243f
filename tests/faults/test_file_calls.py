"""Commands that are killed at a call on a file: given again, they end as if they never were."""

from __future__ import annotations

import itertools
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.conftest import slow
from tests.faults.file_calls import killed_at, outcome
from tests.faults.runs import config_of, stop
from tests.forked import Done, Forked

SHORT = ("dataset.test=1500", "epochs=2", "device=cpu", "pictures=false", "progress=false")
DENOISING = ("model=denoising", "optimizer=adam", *SHORT)
STAGES = ("model=stacked", "schedule.layer_epochs=[1,1]", *SHORT, "epochs=1")
# The second job diverges.
RATES = "optimizer.learning_rate=0.001,1e30,0.002"
SWEEP = ("-m", "model=ae", "optimizer=sgd", RATES, *SHORT, "epochs=1")
RUN = ("hydra.run.dir=run",)

Prepare = Callable[[Path], None]


def nothing(run: Path) -> None:
    """Leave the folder to the command."""


def finished(run: Path) -> None:
    assert Forked(run.parent)(*DENOISING, f"hydra.run.dir={run}").code == 0


def stopped(run: Path) -> None:
    stop(config_of(), run)


# What is there, and the command.
SCENES: dict[str, tuple[Prepare, tuple[str, ...]]] = {
    "begin": (nothing, (*DENOISING, *RUN)),
    "stages": (nothing, (*STAGES, *RUN)),
    "pictures": (nothing, (*DENOISING, *RUN, "epochs=1", "pictures=true")),
    "extend": (finished, ("resume=run", "epochs=4")),
    "resume": (stopped, ("resume=run",)),
    "sweep": (nothing, (*SWEEP, "hydra.sweep.dir=run")),
}


def walk(scene: str, folder: Path, numbers: Iterable[int], names: tuple[str, ...] = ("",)) -> int:
    """Kill the command of a scene at these calls in turn; give the number of kills.

    Each time it is given again afterwards, and its outcome compared with that of one that was
    never killed.

    Args:
        numbers: of the calls, as ``killed_at`` counts them, and of one more than there are.
        names: of the files whose calls count.
    """
    prepare, words = SCENES[scene]
    before, whole = folder / "before", folder / "whole"
    before.mkdir()
    prepare(before / "run")
    code = _again(before, whole)(*words).code
    expected = outcome(whole / "run")
    for kills, number in enumerate(numbers):
        trial = folder / str(number)
        killed = _again(before, trial)(*words, before=killed_at(trial / "run", number, names))
        if killed.code != -signal.SIGKILL:
            assert killed.code == code, killed.err
            return kills
        done = Forked(trial)(*words)
        assert done.code == code, (number, done.err)
        assert outcome(trial / "run") == expected, _differing(trial, expected, number, done)
        shutil.rmtree(trial)
    raise AssertionError("there are more calls")


def _again(before: Path, folder: Path) -> Forked:
    shutil.copytree(before, folder)
    return Forked(folder)


def _differing(trial: Path, expected: dict[str, object], number: int, done: Done) -> str:
    found = outcome(trial / "run")
    names = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    return f"killed at call {number}: {', '.join(names)} differ; {done.out}"


@pytest.mark.parametrize("scene", ["begin", *slow(["extend", "stages", "resume", "sweep"])])
def test_killed_at_some_calls(scene: str, tmp_path: Path) -> None:
    assert walk(scene, tmp_path, (8**n for n in range(1, 9))) > 1


@pytest.mark.soak
@pytest.mark.parametrize("scene", SCENES)
def test_killed_at_every_call(scene: str, tmp_path: Path) -> None:
    kills = walk(scene, tmp_path, itertools.count(1))
    print(f"{scene}: {kills} kills")


def test_killed_while_a_finished_run_is_extended(tmp_path: Path) -> None:
    """Its status and its configuration are two files, and it has finished only if both say so."""
    assert walk("extend", tmp_path, itertools.count(1), ("config.yaml", "status.json")) > 5


@pytest.mark.parametrize("scene", ["begin", *slow(["extend", "sweep"])])
def test_killed_while_a_page_is_written(scene: str, tmp_path: Path) -> None:
    """The run has not finished yet, and a sweep that is given again writes its page."""
    assert walk(scene, tmp_path, itertools.count(1), ("report.html",)) > 1
