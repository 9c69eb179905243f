"""Sweeps whose jobs run in the processes of a launcher, which are killed, stopped or left alone."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.faults.launched import (
    JOBLIB,
    SUBMITIT,
    check_like,
    finish_like,
    launched,
    nobody_left,
    parent_of,
    until,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("number", "launcher"),
    [(signal.SIGKILL, JOBLIB), (signal.SIGSEGV, JOBLIB), (signal.SIGKILL, SUBMITIT)],
)
def test_a_job_whose_process_dies(
    number: signal.Signals, launcher: tuple[str, ...], tmp_path: Path, one_by_one: Path
) -> None:
    with launched(tmp_path, *launcher) as sweep:
        os.kill(sweep.job(1), number)
        assert sweep.wait() == 1
    reason = f"its process was killed by {number.name}"
    assert f"job 1 failed: {reason}" in sweep.out
    assert "2 of 3 jobs finished" in sweep.out
    assert sweep.out.splitlines()[-1] == "resume with: sae-train resume=sweep"
    assert sweep.statuses() == ["finished", "failed", "finished"]
    # Above it, loky shows the stack of a worker that has met a SIGSEGV.
    error = sweep.err.splitlines()[-1]
    assert error.startswith("error in job 1_") and reason in error
    if launcher == JOBLIB:
        assert error.endswith("; resume with: sae-train resume=sweep")
    finish_like(tmp_path / "sweep", one_by_one)


def test_a_worker_of_joblib_that_dies(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *JOBLIB) as sweep:
        os.kill(parent_of(sweep.job(0)), signal.SIGKILL)
        assert sweep.wait() == 0
    (error,) = sweep.err.splitlines()
    assert error.startswith("error in the launcher: one of its workers died")
    assert "3 of 3 jobs finished" in sweep.out
    check_like(tmp_path / "sweep", one_by_one)


def test_workers_of_joblib_end_with_their_sweep(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *JOBLIB, "epochs=3000") as sweep:
        jobs = [sweep.job(0), sweep.job(1)]
        assert all(jobs)
        sweep.process.kill()
        sweep.process.wait()
        until(partial(nobody_left, sweep.process.pid))
    assert sweep.statuses() == ["interrupted", "interrupted"]
    logs = [(path / "train.log").read_text() for path in (tmp_path / "sweep").glob("[0-9]*")]
    assert all("stopped by SIGTERM" in log for log in logs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_sweep_of_joblib_that_is_stopped(
    number: signal.Signals, tmp_path: Path, one_by_one: Path
) -> None:
    with launched(tmp_path, *JOBLIB) as sweep:
        assert sweep.job(0) and sweep.job(1)
        # A terminal sends a Ctrl-C to all processes, the workers and their jobs among them.
        send = os.killpg if number == signal.SIGINT else os.kill
        send(sweep.process.pid, number)
        assert sweep.wait() == 128 + number
        assert nobody_left(sweep.process.pid)
    assert sweep.err == (
        f"stopped by {number.name}: the other jobs wait; resume with: sae-train resume=sweep\n"
    )
    assert sweep.statuses()[:2] == ["interrupted", "interrupted"]
    finish_like(tmp_path / "sweep", one_by_one)


def test_a_launcher_that_fails(tmp_path: Path) -> None:
    with launched(tmp_path, *JOBLIB, "hydra.launcher.timeout=0.1") as sweep:
        assert sweep.wait() == 1
        assert nobody_left(sweep.process.pid)
    (error,) = sweep.err.splitlines()
    assert error.startswith("error in the launcher: TimeoutError")
    assert "0 of 3 jobs finished" in sweep.out


@pytest.mark.parametrize(
    "words", [("hydra/launcher=basic",), (*JOBLIB[:1], "hydra.launcher.n_jobs=1")]
)
def test_a_launcher_in_this_process(
    words: tuple[str, ...], tmp_path: Path, one_by_one: Path
) -> None:
    with launched(tmp_path, *words) as sweep:
        assert sweep.job(1)
        sweep.process.terminate()
        assert sweep.wait() == 143
        assert nobody_left(sweep.process.pid)
    assert sweep.err == (
        "stopped by SIGTERM: the other jobs wait; resume with: sae-train resume=sweep\n"
    )
    assert sweep.statuses() == ["finished", "interrupted"]
    finish_like(tmp_path / "sweep", one_by_one)
