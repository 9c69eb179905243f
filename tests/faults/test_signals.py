"""Signals: work is saved, the exit code names the signal, and nothing half-made is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sae_cli.core.errors import Stopped
from sae_cli.core.signals import SIGNALS, stopping_at_once, stopping_in_time
from sae_cli.run_folder.checkpoints import Checkpoints
from sae_cli.run_folder.folder import RunFolder
from sae_cli.runs import closing
from sae_cli.runs import train as training
from tests.conftest import slow
from tests.faults.causes import sigint_twice, signal_at_step, signal_before_training
from tests.faults.runs import (
    LAST,
    PREVIOUS,
    SAVED_BEFORE,
    STOPPED_AT,
    WORDS,
    at_step,
    config_of,
    contents,
    finish_like,
    saved_state,
    signal_sender,
    status,
)
from tests.forked import Forked
from tests.killing import results

NAMES = {number: signal.Signals(number).name for number in SIGNALS}


@pytest.mark.parametrize("number", [*SIGNALS[:2], *slow(SIGNALS[2:])], ids=NAMES.get)
def test_a_signal_in_the_training(
    number: signal.Signals, tmp_path: Path, whole: Path, forked: Forked
) -> None:
    done = forked(*WORDS, "hydra.run.dir=run", before=signal_at_step[number])
    assert done.code == 128 + number
    assert done.error == (
        f"stopped by {NAMES[number]}: the last checkpoint is of step {STOPPED_AT}; "
        "resume with: sae-train resume=run"
    )
    assert done.out.splitlines()[-1] == "run folder: run (interrupted)"
    about = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (about["status"], about["saved_step"]) == ("interrupted", STOPPED_AT)
    assert saved_state(tmp_path / "run" / LAST).step == STOPPED_AT
    assert saved_state(tmp_path / "run" / PREVIOUS).step == SAVED_BEFORE
    assert not (tmp_path / "run" / ".lock").exists()
    finish_like(tmp_path / "run", whole)


@pytest.mark.parametrize("step", [1, 8, 9, 16, *slow([*range(2, 8), *range(10, 16)])])
def test_a_signal_at_any_step(step: int, tmp_path: Path, whole: Path) -> None:
    with at_step(step, signal_sender(signal.SIGTERM)), pytest.raises(Stopped):
        training.train(config_of(), tmp_path / "run", [])
    assert saved_state(tmp_path / "run" / LAST).step == step
    finish_like(tmp_path / "run", whole)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, whole: Path, forked: Forked) -> None:
    """There is no checkpoint of that step; the run resumes from the one before."""
    done = forked(*WORDS, "hydra.run.dir=run", before=sigint_twice)
    assert done.code == 130
    assert f"the last checkpoint is of step {SAVED_BEFORE}; resume with" in done.error
    assert status(tmp_path / "run") == "interrupted"
    finish_like(tmp_path / "run", whole)


@pytest.mark.parametrize("number", [*SIGNALS[:2], *slow(SIGNALS[2:])], ids=NAMES.get)
def test_a_signal_before_the_training(
    number: signal.Signals, tmp_path: Path, forked: Forked
) -> None:
    done = forked(*WORDS, "hydra.run.dir=deeper/run", before=signal_before_training[number])
    assert done.code == 128 + number
    assert done.error == f"stopped by {NAMES[number]}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["torch", *slow(["yaml", "hydra.core.utils"])])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=NAMES.get)
def test_a_signal_in_the_imports(number: signal.Signals, module: str, tmp_path: Path) -> None:
    """The signal is sent when Python reports an import of that module."""
    process = subprocess.Popen(
        [sys.executable, "-v", "-m", "sae_cli", *WORDS],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"import '{module}"):
            break
    process.send_signal(number)
    rest = process.communicate()[1].splitlines()
    assert process.returncode == 128 + number
    assert f"stopped by {NAMES[number]}" in rest
    assert not any("Traceback" in line for line in rest)
    assert list(tmp_path.iterdir()) == []


AFTER_TRAINING: dict[str, tuple[object, str]] = {
    "closing evaluation": (training, "closing_metrics"),
    "second half of it": (closing, "_evaluate"),
    "model": (RunFolder, "save_model"),
    "pictures": (RunFolder, "save_picture"),
}


@pytest.mark.parametrize(
    "when", ["closing evaluation", "pictures", *slow(["second half of it", "model"])]
)
def test_a_signal_after_the_training(
    when: str, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, name = AFTER_TRAINING[when]
    done = getattr(holder, name)
    pictures = when in {"model", "pictures"}
    config = config_of(f"pictures={pictures}")

    def patched(*arguments: object) -> object:
        signal_sender(signal.SIGTERM)()
        return done(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(holder, name, patched)
        with pytest.raises(Stopped, match="the last checkpoint is of step 16; resume with"):
            training.train(config, tmp_path / "run", [])
    assert status(tmp_path / "run") == "interrupted"
    finish_like(tmp_path / "run", whole)
    drawn = {path.stem for path in (tmp_path / "run").glob("pictures/*.png")}
    # These are the first and the last of them.
    assert drawn >= {"reconstructions", "loss_curves"} if pictures else not drawn


def test_a_signal_that_comes_too_late(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has finished, but a sweep's next job does not begin."""
    write = RunFolder.write_summary

    def patched(folder: RunFolder, summary: dict[str, object]) -> None:
        write(folder, summary)
        signal_sender(signal.SIGTERM)()

    monkeypatch.setattr(RunFolder, "write_summary", patched)
    with pytest.raises(Stopped):
        training.train(config_of(), tmp_path / "run", [])
    assert status(tmp_path / "run") == "finished"
    assert results(tmp_path / "run") == results(whole)


def test_a_signal_in_a_save(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The save is completed first."""
    save: Callable[..., None] = Checkpoints.save

    def patched(checkpoints: Checkpoints, state: dict[str, object], *, best: bool) -> None:
        signal_sender(signal.SIGINT)()
        save(checkpoints, state, best=best)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", patched)
        with pytest.raises(Stopped):
            training.train(config_of(), tmp_path / "run", [])
    assert saved_state(tmp_path / "run" / LAST).step == 0
    finish_like(tmp_path / "run", whole)


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As ``nohup`` and a shell's background jobs ask for."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping_at_once(), stopping_in_time() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            stop.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stopping_at_once(), pytest.raises(Stopped), stopping_in_time() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        stop.check()
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_before_a_run_resumes(stopped: Path, whole: Path, forked: Forked) -> None:
    before = contents(stopped)
    done = forked("resume=run", before=signal_before_training[signal.SIGTERM])
    assert done.code == 143
    assert contents(stopped) == before
    finish_like(stopped, whole)
