"""Limits of a process and of a file system: one line, and a status that says how the run ended."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import slow
from tests.faults import limits
from tests.faults.disks import mounted
from tests.faults.runs import (
    LAST,
    SAVED_BEFORE,
    STOPPED_AT,
    WORDS,
    contents,
    finish_like,
    saved_state,
    status,
)
from tests.forked import Before, Forked

KEPT = "what was saved before is kept, and the run can be resumed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for a few dozen files."""
    with mounted(tmp_path / "disk", "size=4m,nr_inodes=40") as folder:
        yield folder


def test_no_descriptor_is_left(tmp_path: Path, whole: Path, forked: Forked) -> None:
    done = forked(*WORDS, "hydra.run.dir=run", before=limits.no_descriptor)
    assert done.code == 4, done.err
    assert f"Too many open files; {KEPT}" in done.error
    assert_failed(tmp_path / "run", whole)


@pytest.mark.parametrize("number", [errno.ENOSPC, *slow([errno.EDQUOT, errno.EIO])])
def test_no_room_to_say_how_a_run_ended(
    number: int, tmp_path: Path, whole: Path, forked: Forked
) -> None:
    done = forked(*WORDS, "hydra.run.dir=run", before=limits.no_new_file(number))
    assert done.code == 4, done.err
    assert f"{os.strerror(number)}; {KEPT}" in done.error
    assert_failed(tmp_path / "run", whole)


@pytest.mark.parametrize("cause", [limits.no_inode, limits.no_block])
def test_a_file_system_that_is_full(
    cause: Before, small_disk: Path, whole: Path, forked: Forked
) -> None:
    done = forked(*WORDS, "hydra.run.dir=disk/run", before=cause)
    assert done.code == 4, done.err
    assert f"No space left on device; {KEPT}" in done.error
    assert list(small_disk.glob("*.filler"))
    assert status(small_disk / "run") == "failed"
    for filler in small_disk.glob("*.filler"):
        filler.unlink()
    finish_like(small_disk / "run", whole)


def test_a_run_that_cannot_record_that_it_resumes(
    stopped: Path, whole: Path, forked: Forked
) -> None:
    """The status finds room, and what comes after it does not."""
    before = contents(stopped / "checkpoints")
    done = forked("resume=run", before=limits.files_of_a_kilobyte)
    assert done.code == 4, done.err
    assert "environment.json (" in done.error and "File too large" in done.error
    assert status(stopped) == "failed"
    assert contents(stopped / "checkpoints") == before
    finish_like(stopped, whole)


def test_memory_ends_while_a_checkpoint_is_read(stopped: Path, whole: Path, forked: Forked) -> None:
    """The checkpoint is good, so the run does not fall back to the one before."""
    before = contents(stopped)
    done = forked("resume=run", before=limits.no_memory_for_a_checkpoint)
    assert done.code == 4, done.err
    assert "out of memory" in done.error
    assert contents(stopped) == before
    finish_like(stopped, whole)


def test_memory_ends_while_data_are_read(tmp_path: Path, forked: Forked) -> None:
    """The file is not called damaged."""
    np.save(tmp_path / "data.npy", np.zeros((200, 8), "f4"))
    words = ("dataset=array", "dataset.path=data.npy", "hydra.run.dir=run")
    done = forked(*words, before=limits.no_memory_for_data)
    assert done.code == 4, done.err
    assert "Cannot allocate memory" in done.error
    assert [path.name for path in tmp_path.iterdir()] == ["data.npy"]


@pytest.mark.parametrize(("threads", "words"), [(2, ""), (1, "device.threads=2")])
def test_too_few_threads(threads: int, words: str, tmp_path: Path, forked: Forked) -> None:
    done = forked(*WORDS, *words.split(), "hydra.run.dir=run", before=limits.no_thread[threads])
    assert done.code == 4, done.err
    assert "this process may start 0 more threads, and computing on " in done.error
    assert "OMP_NUM_THREADS=1 device.threads=1" in done.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (limits.no_fork, "Resource temporarily unavailable"),
        (limits.no_watching_thread, "can't start new thread"),
    ],
)
def test_a_job_whose_process_cannot_start(
    cause: Before, said: str, tmp_path: Path, forked: Forked
) -> None:
    words = ("-m", *WORDS, "seed=0,1", "hydra/launcher=basic", "hydra.sweep.dir=sweep")
    done = forked(*words, before=cause)
    assert done.code == 1, done.err
    for line, number in zip(done.err.splitlines(), range(2), strict=True):
        assert line.startswith(f"error in job {number}_") and said in line
    assert [status(run) for run in (tmp_path / "sweep").glob("[01]_*")] == ["failed"] * 2
    assert forked("resume=sweep").code == 0


# With so many processes OpenBLAS complains; with one more OpenMP ends the process.
@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_too_few_threads_for_libraries(processes: int, tmp_path: Path) -> None:
    """A user who is not root, who is limited, but may read all that root may."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become a user who has no other process (setpriv is needed)")
    os.chmod(tmp_path, 0o777)
    command = f"ulimit -u {processes}; exec {sys.executable} -m sae_cli device.threads=2 epochs=1"
    done = subprocess.run(
        [
            *("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"),
            *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "bash", "-c", command),
        ],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: this process may start ")
    assert list(tmp_path.iterdir()) == []


def test_processor_time_ends(tmp_path: Path, whole: Path, forked: Forked) -> None:
    """Both limits are the same, as ``ulimit -t`` sets them: alone, the system would kill."""
    done = forked(*WORDS, "hydra.run.dir=run", before=limits.little_time)
    assert done.code == 152, done.err
    assert done.error == (
        f"stopped by SIGXCPU: the last checkpoint is of step {STOPPED_AT}; "
        "resume with: sae-train resume=run"
    )
    assert status(tmp_path / "run") == "interrupted"
    finish_like(tmp_path / "run", whole)


def test_no_processor_time_to_save_in(tmp_path: Path, forked: Forked) -> None:
    done = forked(*WORDS, "hydra.run.dir=run", before=limits.no_time)
    assert done.code == 4, done.err
    assert "the limit of 1 s of processor time (ulimit -t) is too low" in done.error
    assert list(tmp_path.iterdir()) == []


def test_memory_ends_while_the_command_is_imported(tmp_path: Path, forked: Forked) -> None:
    done = forked("--help", before=limits.no_memory_for_the_command)
    assert done.code == 4, done.err
    assert "out of memory" in done.error


def assert_failed(run: Path, whole: Path) -> None:
    """The folder says how the run ended, and resumes."""
    assert status(run) == "failed"
    assert saved_state(run / LAST).step == SAVED_BEFORE
    assert not list(run.rglob("*.tmp"))
    finish_like(run, whole)


@pytest.mark.parametrize(("hard", "code"), [(1000, 0), (400, 4)])
def test_more_shards_than_descriptors(tmp_path: Path, forked: Forked, hard: int, code: int) -> None:
    """More are asked for, and a line says so where the system does not allow them."""
    (tmp_path / "acts").mkdir()
    x = np.random.default_rng(0).random((200, 3, 6), np.float32)
    for number, rows in enumerate(x):
        np.save(tmp_path / "acts" / f"{number}.npy", rows)
    done = forked(
        "dataset=array", "dataset.path=acts", "batch_size=8", "epochs=1", "pictures=false",
        "hydra.run.dir=run", before=partial(limits.descriptors, 300, hard),
    )  # fmt: skip
    assert done.code == code, done.err
    says = "to keep its files open takes 656 descriptors, and the system allows 400; join files"
    assert (says in done.err) == bool(code)
