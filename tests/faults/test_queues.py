"""Sweeps whose jobs wait in a queue: of submitit's own processes, and of a stand-in for Slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from sae_cli.runs.sweeps.squeue import ask_squeue
from tests.faults import fake_slurm
from tests.faults.launched import (
    JOBS,
    SUBMITIT,
    WORDS,
    Launched,
    check_like,
    finish_like,
    launched,
    nobody_left,
    parent_of,
    until,
)
from tests.forked import Forked

SLURM = ("hydra/launcher=submitit_slurm",)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state of a stand-in for Slurm, whose commands come first on the path."""
    state, commands = tmp_path / "slurm", tmp_path / "commands"
    for folder in (commands, state / "queue", state / "requeued"):
        folder.mkdir(parents=True)
    for name in ("sbatch", "srun", "squeue", "scontrol", "scancel"):
        (commands / name).write_text(
            f'#!/bin/sh\nexec {sys.executable} {fake_slurm.__file__} {name} "$@"\n'
        )
        (commands / name).chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(fake_slurm.__file__).parents[2]))
    return state


def at_work(sweep: Launched) -> None:
    for number in range(JOBS):
        assert sweep.job(number)


def logs(sweep: Launched) -> list[str]:
    return [(path / "train.log").read_text() for path in sorted(sweep.sweep.glob("[0-9]*"))]


def signal_step(slurm: Path, job: str, number: int) -> None:
    subprocess.run(
        [sys.executable, fake_slurm.__file__, "signal_step", job, str(number)], check=True
    )


@pytest.mark.slow
def test_jobs_that_are_preempted(slurm: Path, tmp_path: Path, one_by_one: Path) -> None:
    """Each is queued again, resumes, and ends with the same bits."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)
    with launched(tmp_path, *SLURM) as sweep:
        at_work(sweep)
        for job, number in enumerate(numbers):
            signal_step(slurm, f"1_{job}", number)
        assert sweep.wait() == 0
        assert sweep.err == ""
    for log, number in zip(logs(sweep), numbers, strict=True):
        assert f"stopped by {number.name}" in log
        assert "resumed at step" in log
    check_like(tmp_path / "sweep", one_by_one)


@pytest.mark.slow
def test_a_job_that_is_cancelled(slurm: Path, tmp_path: Path, one_by_one: Path) -> None:
    """It is not queued again; the command that began the sweep submits what is left of it."""
    with launched(tmp_path, *SLURM) as sweep:
        at_work(sweep)
        subprocess.run(["scancel", "1_1"], check=True)
        assert sweep.wait() == 1
    (error,) = sweep.err.splitlines()
    assert error.startswith("error in job 1_")
    assert "it left its queue early; its log is sweep/.submitit/1_1/1_1_0_log.err" in error
    assert sweep.statuses() == ["finished", "interrupted", "finished"]
    with launched(tmp_path, *SLURM) as sweep:
        assert sweep.wait() == 0
    assert "1 job of Slurm: 2; " in sweep.out
    check_like(tmp_path / "sweep", one_by_one)


@pytest.mark.slow
def test_a_sweep_of_slurm_that_is_stopped(slurm: Path, tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *SLURM) as sweep:
        at_work(sweep)
        sweep.process.terminate()
        assert sweep.wait() == 143
        assert sweep.err == (
            "stopped by SIGTERM: Slurm goes on with jobs 0, 1, 2 (to cancel them: scancel 1); "
            "when they have ended, resume with: sae-train resume=sweep\n"
        )
        until(lambda: not [*(slurm / "queue").iterdir()])
    assert sweep.statuses() == ["finished"] * JOBS
    finish_like(tmp_path / "sweep", one_by_one)


@pytest.mark.slow
def test_a_controller_that_does_not_answer(slurm: Path, tmp_path: Path, one_by_one: Path) -> None:
    (slurm / "down").touch()
    with launched(tmp_path, *SLURM) as sweep:
        assert sweep.wait() == 0
    (line,) = sweep.err.splitlines()
    assert line.startswith("Slurm does not answer (squeue: error: Unable to contact")
    check_like(tmp_path / "sweep", one_by_one)


def test_variables_of_squeue(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that a user's own variable hides have not left their queue."""
    (slurm / "queue" / "1_0").write_text("PENDING")
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    assert not subprocess.check_output(["squeue"]).split()
    assert ask_squeue("--me", "--array", "--noheader", "--format=%i").split() == ["1_0"]


@pytest.mark.slow
def test_a_ctrl_c_while_jobs_are_submitted(slurm: Path, tmp_path: Path) -> None:
    """It reaches ``sbatch`` as well, which submits them all the same."""
    (slurm / "interrupts").touch()
    with launched(tmp_path, *SLURM) as sweep:
        assert sweep.wait() == 130
        assert sweep.err == (
            "stopped by SIGINT: Slurm goes on with jobs 0, 1, 2 (to cancel them: scancel 1); "
            "when they have ended, resume with: sae-train resume=sweep\n"
        )
        until(lambda: not [*(slurm / "queue").iterdir()])
    assert sweep.statuses() == ["finished"] * JOBS


@pytest.mark.slow
def test_a_ctrl_c_while_jobs_are_refused(slurm: Path, tmp_path: Path) -> None:
    for name in ("interrupts", "refuses"):
        (slurm / name).touch()
    with launched(tmp_path, *SLURM) as sweep:
        assert sweep.wait() == 130
    assert sweep.err.startswith("stopped by SIGINT: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "there is no sbatch here; start the sweep on a machine that submits to a Slurm"),
        (("hydra.launcher.nodes=2",), "hydra.launcher.nodes=2: a job of a sweep is one process"),
        (("+hydra.launcher.additional_parameters.M=x",), "additional_parameters.M: a sweep submit"),
        (
            ("+hydra.launcher.additional_parameters={clusters:x}",),
            "additional_parameters.clusters: a sweep submits to the cluster of this machine",
        ),
        (("hydra.launcher.partitoin=x",), "partitoin"),
        (("hydra.launcher.timeout_min=soon",), "timeout_min"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: tuple[str, ...], says: str, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = forked(*WORDS, *SLURM, *words)
    assert done.code == 2
    assert says in done.error
    assert not [*forked.cwd.iterdir()]


def test_jobs_that_sbatch_refuses(slurm: Path, forked: Forked) -> None:
    (slurm / "refuses").touch()
    done = forked(*WORDS, *SLURM, "hydra.launcher.partition=nowhere")
    assert done.code == 2
    assert "error: hydra/launcher=submitit_slurm: sbatch: error: invalid partition" in done.error


@pytest.mark.slow
def test_a_process_of_submitit_that_dies(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *SUBMITIT) as sweep:
        os.kill(parent_of(sweep.job(0)), signal.SIGKILL)
        assert sweep.wait() == 1
    (error,) = sweep.err.splitlines()
    assert error.startswith("error in job 0_")
    assert "it left its queue early; its log is sweep/.submitit/" in error
    assert "2 of 3 jobs finished" in sweep.out
    assert sweep.statuses() == ["interrupted", "finished", "finished"]
    finish_like(tmp_path / "sweep", one_by_one)


@pytest.mark.slow
def test_a_sweep_of_submitit_that_is_stopped(tmp_path: Path, one_by_one: Path) -> None:
    """Its jobs are not this process's to stop, and the message says so."""
    with launched(tmp_path, *SUBMITIT) as sweep:
        at_work(sweep)
        sweep.process.terminate()
        assert sweep.wait() == 143
        assert sweep.err.startswith(
            "stopped by SIGTERM: this machine goes on with jobs 0, 1, 2 (to cancel them: kill "
        )
        assert sweep.err.endswith("when they have ended, resume with: sae-train resume=sweep\n")
        until(partial(nobody_left, sweep.process.pid))
    assert sweep.statuses() == ["finished"] * JOBS
    finish_like(tmp_path / "sweep", one_by_one)


@pytest.mark.slow
def test_a_job_that_submitit_queues_again(tmp_path: Path, one_by_one: Path) -> None:
    """SIGUSR2 is what submitit sends before a time limit; it starts the job again afterwards."""
    with launched(tmp_path, *SUBMITIT) as sweep:
        os.kill(parent_of(sweep.job(1)), signal.SIGUSR2)
        assert sweep.wait() == 0
    folder = sweep.folder(1)
    assert folder is not None
    log = (folder / "train.log").read_text()
    assert "stopped by SIGUSR2" in log
    assert "resumed at step" in log
    check_like(tmp_path / "sweep", one_by_one)


@pytest.mark.slow
def test_the_command_that_cancels_the_jobs(tmp_path: Path) -> None:
    """What the sweep prints ends with it, because its jobs write to files of their own."""
    with launched(tmp_path, *SUBMITIT, "epochs=3000") as sweep:
        at_work(sweep)
        sweep.process.terminate()
        assert sweep.wait() == 143
        assert sweep.statuses() == ["running"] * JOBS
        cancel = sweep.err.partition("them: ")[2].partition(")")[0]
        subprocess.run(cancel.split(), check=True)
        assert nobody_left(sweep.process.pid)
    assert sweep.statuses() == ["interrupted"] * JOBS
    assert (tmp_path / "sweep" / ".submitit" / "controllers.log").read_text() == ""


@pytest.mark.slow
def test_a_ctrl_c_reaches_the_processes_of_this_machine(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *SUBMITIT) as sweep:
        at_work(sweep)
        os.killpg(sweep.process.pid, signal.SIGINT)
        assert sweep.wait() == 130
        assert nobody_left(sweep.process.pid)
    assert sweep.err.splitlines()[-1] == (
        "stopped by SIGINT: the other jobs wait; resume with: sae-train resume=sweep"
    )
    assert sweep.statuses() == ["interrupted"] * JOBS
    finish_like(tmp_path / "sweep", one_by_one)
