"""Trackers that are missing, broken, slow or without room: the run is as it is without them."""

from __future__ import annotations

import errno
import signal
import sys
from pathlib import Path

import pytest

from sae_cli.assembly.parts import build_parts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.runs import tracking
from sae_cli.runs.resume import resume
from sae_cli.runs.sweeps.running import resume_sweep
from sae_cli.runs.sweeps.sweep import sweep_of
from sae_cli.runs.train import train
from sae_cli.trackers import tracker
from tests import forked
from tests.faults.runs import config_of, stop
from tests.killing import results

OFF = "is off for the rest of this run"
# What a package of that name may do; the run is told of a step and of evaluations.
BROKEN = {
    "raises when imported": "raise ImportError('a part of it is missing')",
    "kills its process": "import os; os._exit(7)",
    "raises in the middle": """
import os
class Run:
    dir, summary = os.environ["TRACKED"], {}
    def define_metric(self, *args, **kwargs): ...
    def log(self, row):
        if row["step"] >= 4: raise OSError(28, "No space left on device")
    def finish(self, exit_code): ...
Image = Settings = lambda *args, **kwargs: None
def init(**kwargs): print("noise"); os.system("echo noise"); return Run()
""",
    "never ends": "import time; time.sleep(1000)",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without a tracker."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(config_of(), run, [])
    return run


def tracked(name: str) -> RunConfig:
    return config_of().changed({"logger": name})


def lines_of(text: str, what: str) -> list[str]:
    return [line for line in text.splitlines() if what in line]


@pytest.mark.parametrize("does", BROKEN)
def test_a_tracker_that_is_broken(
    does: str,
    tmp_path: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "wandb.py").write_text(BROKEN[does])
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.setenv("TRACKED", str(tmp_path))
    if does == "never ends":
        monkeypatch.setattr(tracking, "FINISHED_SECONDS", 0.5)
        monkeypatch.setattr(tracking, "QUIET_SECONDS", 0.1)
    run = tmp_path / "run"
    train(tracked("wandb"), run, [])
    out, err = capfd.readouterr()
    assert len(lines_of(out, OFF)) == 1 and "noise" not in out and err == ""
    assert results(run) == results(whole)


def test_a_quiet_run_says_that_a_tracker_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wandb.py").write_text(BROKEN["kills its process"])
    monkeypatch.syspath_prepend(str(tmp_path))
    train(tracked("wandb").changed({"quiet": True}), tmp_path / "run", [])
    off, last = capfd.readouterr().out.splitlines()
    assert OFF in off and last.startswith("run folder: ")


def test_a_tracker_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs wandb: pip install 'sae-train\[wandb\]'"):
        build_parts(tracked("wandb"))
    build_parts(config_of())


def test_a_folder_of_a_trackers_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "surely_not_installed").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not tracker._is_installed("surely_not_installed")


def test_a_record_that_finds_no_room(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")

    def full(target: Path, line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(tracking, "append_line", full)
    train(tracked("tensorboard"), tmp_path / "run", [])
    assert len(lines_of(capsys.readouterr().out, OFF)) == 1
    assert results(tmp_path / "run") == results(whole)


def test_a_tracker_that_a_strangers_folder_names(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracker, "find_spec", lambda name: sys.modules["sae_cli"].__spec__)
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere.db"
    stop(config_of(), run)
    page = run / "config.yaml"
    section = f"logger:\n  mlflow:\n    log_every: 50\n    tracking_uri: sqlite:///{elsewhere}\n"
    page.write_text(page.read_text().replace("logger: {}\n", section))
    resume(run, {})
    assert len(lines_of(capsys.readouterr().out, "logger=mlflow is left out")) == 1
    assert not elsewhere.exists()
    assert results(run) == results(whole)


def test_a_tracker_that_a_strangers_sweep_names(tmp_path: Path) -> None:
    config = config_of().changed({"logger": {"wandb": {"mode": "online"}}})
    sweep_of(tmp_path, [["seed=0"]], [config]).write()
    with pytest.raises(ConfigError, match="online of a folder is not followed"):
        resume_sweep(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_run_imports_no_tracker(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    process = forked.start(_train_and_look, tracked("tensorboard"), tmp_path / "run")
    process.join()
    assert process.exitcode == 0


def _train_and_look(config: RunConfig, run: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    train(config, run, [])
    imported = {name.partition(".")[0] for name in sys.modules}
    assert not imported & {"tensorboard", "mlflow", "wandb"}
    assert before == {number: signal.getsignal(number) for number in before}
