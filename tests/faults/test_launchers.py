"""Sweeps whose jobs run in the processes of a launcher, which are killed, stopped or left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from sae_cli.run_folder.layout import status_of
from sae_cli.run_folder.lock import owner
from tests.forked import Forked
from tests.killing import results

JOBS = 3
WORDS = (
    *("-m", "model=denoising", "dataset.test=1000", "epochs=40", "pictures=false"),
    *("progress=false", "seed=0,1,2", "hydra.sweep.dir=sweep"),
)
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SUBMITIT = ("hydra/launcher=submitit_local",)

T = TypeVar("T")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep without a launcher, never stopped."""
    folder = tmp_path_factory.mktemp("one_by_one")
    assert Forked(folder)(*WORDS).code == 0
    return folder / "sweep"


@dataclass
class Launched:
    """A sweep at work in a process group of its own, and what it printed."""

    process: subprocess.Popen[str]
    sweep: Path
    out: str = ""
    err: str = ""

    def folder(self, number: int) -> Path | None:
        return next(iter(self.sweep.glob(f"{number}_*")), None)

    def job(self, number: int) -> int:
        """The process of a job, once its training is under way."""
        return until(partial(self._at_work, number))

    def _at_work(self, number: int) -> int | None:
        folder = self.folder(number)
        if folder is None or not (folder / "metrics.jsonl").exists():
            return None
        return owner(folder) if (folder / "metrics.jsonl").read_text().count("\n") > 3 else None

    def wait(self) -> int:
        self.out, self.err = self.process.communicate()
        return self.process.returncode

    def statuses(self) -> list[str]:
        return [status_of(path) for path in sorted(self.sweep.glob("[0-9]*"))]


def until(find: Callable[[], T | None]) -> T:
    while not (found := find()):
        time.sleep(0.02)
    return found


@contextmanager
def launched(folder: Path, *words: str) -> Iterator[Launched]:
    """Start the sweep in a fresh process, as workers have; nothing of it is left in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sae_cli", *WORDS, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Launched(process, folder / "sweep")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid")))


def nobody_left(group: int) -> bool:
    """Whether a process group ends; its processes notice within a second that the first is gone."""
    ends = time.monotonic() + 20
    while not _is_empty(group):
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


def _is_empty(group: int) -> bool:
    """Whether a group has no process any more; zombies of a killed parent do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return False
    return True


def finish_like(sweep: Path, one_by_one: Path) -> None:
    """Resume the sweep, and check that its jobs end with the bits of one that never stopped."""
    done = Forked(sweep.parent)(f"resume={sweep.name}")
    assert (done.code, done.err) == (0, "")
    check_like(sweep, one_by_one)


def check_like(sweep: Path, one_by_one: Path) -> None:
    assert (sweep / "results.csv").read_bytes() == (one_by_one / "results.csv").read_bytes()
    jobs = sorted(path.name for path in one_by_one.glob("[0-9]*"))
    assert len(jobs) == JOBS
    for name in jobs:
        assert results(sweep / name) == results(one_by_one / name)


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
    if launcher == JOBLIB:
        # Above it, loky shows the stack of a worker that has met a SIGSEGV.
        error = sweep.err.splitlines()[-1]
        assert error.startswith("error in job 1_") and reason in error
        assert error.endswith("; resume with: sae-train resume=sweep")
    else:
        # A job's own output is in its log.
        assert sweep.err == ""
    finish_like(tmp_path / "sweep", one_by_one)


def test_a_worker_of_joblib_that_dies(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *JOBLIB) as sweep:
        os.kill(parent_of(sweep.job(0)), signal.SIGKILL)
        assert sweep.wait() == 0
    (error,) = sweep.err.splitlines()
    assert error.startswith("error in the launcher: one of its workers died")
    assert "3 of 3 jobs finished" in sweep.out
    check_like(tmp_path / "sweep", one_by_one)


def test_a_process_of_submitit_that_dies(tmp_path: Path, one_by_one: Path) -> None:
    with launched(tmp_path, *SUBMITIT) as sweep:
        os.kill(parent_of(sweep.job(0)), signal.SIGKILL)
        assert sweep.wait() == 1
    (error,) = sweep.err.splitlines()
    assert error.startswith("error in the launcher: UncompletedJobError: Job ")
    assert "2 of 3 jobs finished" in sweep.out
    assert sweep.statuses() == ["interrupted", "finished", "finished"]
    finish_like(tmp_path / "sweep", one_by_one)


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


def test_a_sweep_of_submitit_that_is_stopped(tmp_path: Path, one_by_one: Path) -> None:
    """Its jobs are not this process's to stop, and the message says so."""
    with launched(tmp_path, *SUBMITIT) as sweep:
        for number in range(JOBS):
            assert sweep.job(number)
        sweep.process.terminate()
        assert sweep.wait() == 143
        assert sweep.err == (
            "stopped by SIGTERM: the launcher's processes may go on with all jobs (at work: 0, 1, "
            "2); when they have ended, resume with: sae-train resume=sweep\n"
        )
        until(partial(nobody_left, sweep.process.pid))
    assert sweep.statuses() == ["finished"] * JOBS
    finish_like(tmp_path / "sweep", one_by_one)


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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("hydra.launcher.n_jobs=0",), "ValueError: n_jobs == 0"),
        (("hydra.launcher.n_jobs=2", "hydra.launcher.timeout=0.1"), "TimeoutError"),
    ],
)
def test_a_launcher_that_fails(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with launched(tmp_path, "hydra/launcher=joblib", *words) as sweep:
        assert sweep.wait() == 1
        assert nobody_left(sweep.process.pid)
    (error,) = sweep.err.splitlines()
    assert error.startswith(f"error in the launcher: {says}")
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
