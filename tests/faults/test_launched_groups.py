"""Groups of jobs that a launcher is sent as one: each is as alone, and none dies with another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from sae_cli.run_folder.lock import owner
from tests.faults.launched import (
    JOBLIB,
    JOBS,
    SUBMITIT,
    Launched,
    check_like,
    finish_like,
    launched,
    nobody_left,
    parent_of,
    until,
)
from tests.faults.test_queues import SLURM, logs, signal_step, slurm

__all__ = ["slurm"]

pytestmark = pytest.mark.slow

ON = ("sweep.together=on",)
# Two at a time, the first with one job.
TWO = (*SLURM, "hydra.launcher.array_parallelism=2")


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher of this machine is sent one group, whatever its cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def group(sweep: Launched, *numbers: int) -> int:
    """The process of a group, once all its jobs are under way."""
    (pid,) = {sweep.job(number) for number in numbers}
    return pid


@pytest.mark.parametrize(
    ("launcher", "says"),
    [
        (JOBLIB, "3 jobs in 2 groups, each on one core"),
        (SUBMITIT, "3 jobs in 1 group, each on one core"),
        (SLURM, "1 job of Slurm: 1; "),
        (TWO, "2 jobs of Slurm: 1; "),
    ],
)
def test_each_job_is_as_it_is_alone(
    launcher: tuple[str, ...], says: str, slurm: Path, tmp_path: Path, one_by_one: Path
) -> None:
    with launched(tmp_path, *launcher, *ON) as sweep:
        assert sweep.wait() == 0
    assert sweep.err == ""
    assert says in sweep.out
    check_like(tmp_path / "sweep", one_by_one)


def test_a_group_that_is_preempted(slurm: Path, tmp_path: Path, one_by_one: Path) -> None:
    """All its jobs save, and it is queued again as a whole."""
    with launched(tmp_path, *TWO, *ON) as sweep:
        assert sweep.job(0)
        group(sweep, 1, 2)
        signal_step(slurm, "1_1", signal.SIGUSR2)
        assert sweep.wait() == 0
    assert sweep.err == ""
    assert ["resumed at step" in log for log in logs(sweep)] == [False, True, True]
    check_like(tmp_path / "sweep", one_by_one)


def test_a_group_that_is_cancelled(slurm: Path, tmp_path: Path, one_by_one: Path) -> None:
    """The command that began the sweep sends what is left of it."""
    with launched(tmp_path, *TWO, *ON) as sweep:
        assert sweep.job(0)
        group(sweep, 1, 2)
        subprocess.run(["scancel", "1_1"], check=True)
        assert sweep.wait() == 1
    assert len(sweep.err.splitlines()) == 2
    assert sweep.err.count("it left its queue early; its log is sweep/.submitit/1_1/") == 2
    assert sweep.statuses() == ["finished", "interrupted", "interrupted"]
    with launched(tmp_path, *SLURM, *ON) as sweep:
        assert sweep.wait() == 0
    assert "1 job finished before" not in sweep.out
    assert "2 jobs in 1 group, each on one core" in sweep.out
    check_like(tmp_path / "sweep", one_by_one)


def test_a_process_of_a_group_that_alone_is_signalled(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *SUBMITIT, *ON) as sweep:
        os.kill(group(sweep, 0, 1, 2), signal.SIGUSR2)
        assert sweep.wait() == 0
    assert all("resumed at step" in log for log in logs(sweep))
    check_like(tmp_path / "sweep", one_by_one)


def test_a_process_of_a_group_that_is_killed(tmp_path: Path, one_by_one: Path) -> None:
    """Its jobs go on in two halves, of the same job of the launcher."""
    with launched(tmp_path, *SUBMITIT, *ON) as sweep:
        os.kill(group(sweep, 0, 1, 2), signal.SIGKILL)
        assert sweep.wait() == 0
    (log,) = (tmp_path / "sweep" / ".submitit").glob("*/*.err")
    assert "the process of 3 jobs was killed by SIGKILL" in log.read_text()
    assert all("resumed at step" in log for log in logs(sweep))
    check_like(tmp_path / "sweep", one_by_one)


def test_a_parent_of_a_group_that_is_killed(tmp_path: Path, one_by_one: Path) -> None:
    """Its jobs save, and their failure is recorded and shown."""
    with launched(tmp_path, *SUBMITIT, *ON) as sweep:
        os.kill(parent_of(group(sweep, 0, 1, 2)), signal.SIGKILL)
        assert sweep.wait() == 1
        assert nobody_left(sweep.process.pid)
    assert sweep.statuses() == ["failed"] * JOBS
    assert sweep.err.count("its process was killed by SIGKILL") == JOBS
    assert all("stopped by SIGTERM" in log for log in logs(sweep))
    finish_like(tmp_path / "sweep", one_by_one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_sweep_of_joblib_that_is_stopped(
    number: signal.Signals, tmp_path: Path, one_by_one: Path
) -> None:
    with launched(tmp_path, *JOBLIB, *ON) as sweep:
        assert sweep.job(0) and group(sweep, 1, 2)
        send = os.killpg if number == signal.SIGINT else os.kill
        send(sweep.process.pid, number)
        assert sweep.wait() == 128 + number
        assert nobody_left(sweep.process.pid)
    assert sweep.err == (
        f"stopped by {number.name}: the other jobs wait; resume with: sae-train resume=sweep\n"
    )
    assert sweep.statuses() == ["interrupted"] * JOBS
    finish_like(tmp_path / "sweep", one_by_one)


def test_a_worker_of_joblib_that_dies(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *JOBLIB, *ON) as sweep:
        worker = parent_of(parent_of(group(sweep, 1, 2)))
        os.kill(worker, signal.SIGKILL)
        assert sweep.wait() == 0
    assert sweep.err.splitlines()[0].startswith("error in the launcher: one of its workers died")
    check_like(tmp_path / "sweep", one_by_one)


def test_a_sweep_of_submitit_that_is_stopped(tmp_path: Path, one_by_one: Path) -> None:
    """Its group goes on, and has one number to cancel."""
    with launched(tmp_path, *SUBMITIT, *ON) as sweep:
        group(sweep, 0, 1, 2)
        sweep.process.terminate()
        assert sweep.wait() == 143
        said = "stopped by SIGTERM: this machine goes on with jobs 0, 1, 2 (to cancel them: kill "
        assert re.match(re.escape(said) + r"\d+\); ", sweep.err)
        until(partial(nobody_left, sweep.process.pid))
    assert sweep.statuses() == ["finished"] * JOBS
    finish_like(tmp_path / "sweep", one_by_one)


def test_a_failure_is_shown_while_the_others_of_its_group_go_on(tmp_path: Path) -> None:
    rates = ("optimizer.learning_rate=0.01,1e30", "seed=0", "epochs=3000")
    with launched(tmp_path, *SUBMITIT, *ON, *rates) as sweep:
        assert sweep.process.stderr is not None
        assert "became infinite or NaN" in sweep.process.stderr.readline()
        assert sweep.statuses() == ["running", "failed"]
        at_work = sweep.folder(0)
        assert at_work is not None
        child = owner(at_work)
        assert child is not None
        os.kill(parent_of(parent_of(child)), signal.SIGTERM)
        assert sweep.wait() == 1
    assert len(sweep.err.splitlines()) == 1
    assert sweep.statuses() == ["interrupted", "failed"]


def test_what_failed_before_is_tried_again(tmp_path: Path) -> None:
    """It has not ended again because its folder still says that it failed, or is at work."""
    rates = ("optimizer.learning_rate=0.01,1e30,1e29", "seed=0", "epochs=2")
    for says in ("3 jobs in 1 group", "2 jobs in 1 group"):
        with launched(tmp_path, *SUBMITIT, *ON, *rates) as sweep:
            assert sweep.wait() == 1
        assert says in sweep.out
        assert ["became infinite or NaN" in line for line in sweep.err.splitlines()] == [True] * 2
        assert sweep.statuses() == ["finished", "failed", "failed"]
