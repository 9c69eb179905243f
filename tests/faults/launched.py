"""Sweeps at work in the processes of a launcher, for tests that kill, stop or leave them."""

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
