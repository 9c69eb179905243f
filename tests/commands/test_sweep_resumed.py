"""Sweeps that were killed or interrupted and started again, against one that never was."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sae_cli.run_folder.layout import status_of
from tests.conftest import Command, fresh_command
from tests.forked import Forked

WORDS = (
    *("-m", "model=sparse_kl,denoising", "penalty=l1", "penalty.weight=0.01,0.05,0.2"),
    *("epochs=20", "dataset.test=1000", "pictures=false", "hydra.sweep.dir=sweep"),
    "sweep.together=off",
)
N_JOBS = 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert Forked(folder)(*WORDS).err == ""
    return folder / "sweep"


def statuses(sweep: Path) -> dict[str, str]:
    with (sweep / "results.csv").open() as file:
        return {row["job"]: row["status"] for row in csv.DictReader(file)}


def under_way(sweep: Path, number: int) -> Path | None:
    """The folder of that job, once its training is under way."""
    for metrics in sweep.glob(f"{number}_*/metrics.jsonl"):
        if metrics.read_text().count("\n") > 3:
            return metrics.parent
    return None


def snapshot(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.rglob("*")}


def check_same(sweep: Path, whole: Path) -> None:
    assert set(statuses(sweep).values()) == {"finished"}
    assert (sweep / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    for job in statuses(whole):
        for name in ("model.safetensors", "metrics.jsonl", "config.yaml"):
            assert (sweep / job / name).read_bytes() == (whole / job / name).read_bytes()
    assert {path.name for path in sweep.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.slow
def test_killed_twice(tmp_path: Path, whole: Path) -> None:
    sweep, done = tmp_path / "sweep", dict[Path, int]()
    for number in (1, 4):
        with Forked(tmp_path).start(*WORDS) as started:
            stopped = started.until(partial(under_way, sweep, number))
        # The table of a sweep that was killed may lack the last jobs; their folders do not.
        found = {job: status_of(sweep / job) for job in statuses(sweep)}
        assert len(found) == N_JOBS
        assert found[stopped.name] != "finished"
        finished = [job for job, status in found.items() if status == "finished"]
        assert len(finished) == number
        # What had finished before was not touched again.
        assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
        for job in finished:
            done |= snapshot(sweep / job)
    assert Forked(tmp_path)(*WORDS).err == ""
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items())
    check_same(sweep, whole)
    # A job that was stopped went on; it did not begin anew.
    logs = [(sweep / job / "train.log").read_text() for job in statuses(sweep)]
    assert sum("resumed at step" in log for log in logs) == 2
    assert all(log.count("epoch  0/20") == 1 for log in logs)


def test_interrupted_and_gone_on_with_from_its_folder(tmp_path: Path, whole: Path) -> None:
    sweep = tmp_path / "sweep"
    with Forked(tmp_path).start(*WORDS) as started:
        stopped = started.until(partial(under_way, sweep, 1))
        started.send_signal(signal.SIGINT)
        done = started.wait()
    assert done.code == 130
    assert "1 of 6 jobs finished" in done.out
    assert done.err == (
        "stopped by SIGINT: the other jobs wait; resume with: sae-train resume=sweep\n"
    )
    found = statuses(sweep)
    assert found[stopped.name] == "interrupted"
    assert sorted(found.values()) == ["finished", "interrupted", *["waiting"] * 4]
    # From elsewhere, the folder alone has all that it takes.
    shutil.move(sweep, tmp_path / "moved")
    done = Forked(tmp_path / "moved")("resume=.")
    assert (done.code, done.err) == (0, "")
    check_same(tmp_path / "moved", whole)


def test_a_finished_sweep_started_again(command: Command, tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "sweep")
    before = {job: snapshot(tmp_path / "sweep" / job) for job in statuses(whole)}
    again = command("resume=sweep")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("checking the jobs of sweep\n")
    assert again.stdout.count("has finished") == N_JOBS
    assert before == {job: snapshot(tmp_path / "sweep" / job) for job in statuses(whole)}
    check_same(tmp_path / "sweep", whole)


def test_a_sweep_is_resumed_as_loud_as_is_asked(
    command: Command, tmp_path: Path, whole: Path
) -> None:
    sweep = tmp_path / "sweep"
    shutil.copytree(whole, sweep)
    last = sorted(statuses(whole))[-1]
    shutil.rmtree(sweep / last)
    quiet = command("resume=sweep", "quiet=true")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout == "6 of 6 jobs finished; results: sweep/results.csv\n"
    # The job has what was asked for now, and else what it was to have.
    config = (sweep / last / "config.yaml").read_text()
    assert config.replace("quiet: true", "quiet: false") == (
        (whole / last / "config.yaml").read_text()
    )
    assert (sweep / "sweep.yaml").read_bytes() == (whole / "sweep.yaml").read_bytes()
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (sweep / last / name).read_bytes() == (whole / last / name).read_bytes()
    refused = command("resume=sweep", "epochs=3")
    assert refused.returncode == 2
    assert "epochs: a sweep is resumed as it was; with resume= only progress, " in refused.stderr


def test_a_quiet_sweep_is_resumed_quietly(command: Command) -> None:
    words = ("-m", "seed=0,1", "model=ae", "epochs=1", "pictures=false", "report=false")
    assert command(*words, "quiet=true", "hydra.sweep.dir=s").returncode == 0
    again = command("resume=s")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "2 of 2 jobs finished; results: s/results.csv\n"
    loud = command("resume=s", "quiet=false")
    assert loud.stdout.startswith("checking the jobs of s\n")


def test_a_failed_job_is_run_again(command: Command, tmp_path: Path) -> None:
    """Its data were not there; then they are."""
    words = ("-m", "dataset=array", "dataset.path=a.npy,b.npy", "epochs=1", "pictures=false")
    (tmp_path / "a.npy").write_bytes(b"")
    folder = ("hydra.sweep.dir=sweep", "model=ae")
    assert command(*words, *folder).returncode == 1
    assert list(statuses(tmp_path / "sweep").values()) == ["failed", "failed"]
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((60, 5), np.float32))
    done = command(*words, *folder)
    assert done.returncode == 0, done.stderr
    assert list(statuses(tmp_path / "sweep").values()) == ["finished", "finished"]


@pytest.mark.slow
def test_two_at_once(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    with Forked(tmp_path).start(*WORDS, "epochs=2000") as first:
        first.until(partial(under_way, sweep, 0))
        second = Forked(tmp_path)(*WORDS, "epochs=2000")
        assert second.code == 75
        assert "sweep is in use by process" in second.err
        first.send_signal(signal.SIGTERM)
        assert first.wait().code == 143


@pytest.mark.slow
def test_side_by_side_and_killed(tmp_path: Path, whole: Path) -> None:
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    # The process is fresh, as joblib's workers are, and is killed with them, because they would
    # otherwise finish their jobs first.
    process = subprocess.Popen(
        [sys.executable, "-m", "sae_cli", *WORDS, *parallel],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while under_way(tmp_path / "sweep", 3) is None:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = fresh_command(tmp_path)(*WORDS, *parallel)
    assert done.returncode == 0, done.stderr
    assert "6 of 6 jobs finished" in done.stdout
    check_same(tmp_path / "sweep", whole)


def test_many_jobs_are_announced_before_they_are_checked(command: Command) -> None:
    """Checking hundreds takes seconds, in which a person would see nothing."""
    done = command("-m", "seed=range(50)", "penalty.weight=-1")
    assert (done.returncode, done.stdout) == (2, "checking 50 jobs\n")
    assert len(done.stderr.splitlines()) == 1
