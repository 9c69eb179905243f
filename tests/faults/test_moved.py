"""Run folders that are moved, removed or replaced, and locks that are removed, during a run."""

from __future__ import annotations

import errno
import fcntl
import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from sae_cli.core.errors import InUseError, MovedError
from sae_cli.run_folder.files import append_line, write_atomically
from sae_cli.run_folder.lock import is_locked, lock
from tests.faults.runs import STOPPED_AT, WORDS, at_step, contents, finish_like
from tests.forked import Forked

KEPT = ExitStack()


def replace_at_step(run: Path, other: Path | None) -> None:
    """Move the folder of a run at work away, and another one into its place."""

    def replace() -> None:
        run.rename(run.with_name("moved"))
        if other is not None:
            other.rename(run)

    KEPT.enter_context(at_step(STOPPED_AT, replace))


@pytest.mark.parametrize("other", ["other", None])
def test_a_folder_that_is_moved_during_its_run(
    other: str | None, whole: Path, tmp_path: Path, forked: Forked
) -> None:
    """Nothing is written into what has come into its place."""
    run = tmp_path / "run"
    shutil.copytree(whole, tmp_path / "other")
    expected = contents(tmp_path / "other")
    before = partial(replace_at_step, run, None if other is None else tmp_path / other)
    done = forked(*WORDS, "hydra.run.dir=run", before=before)
    assert done.code == 4
    assert "run is no longer the folder that this process works in" in done.error
    if other:
        assert contents(run) == expected
    else:
        assert not run.exists()
    finish_like(tmp_path / "moved", whole)


def test_the_folder_of_a_sweep_that_is_moved(tmp_path: Path, forked: Forked) -> None:
    """No other job begins under the old name."""
    words = ("-m", *WORDS, "seed=0,1", "hydra.sweep.dir=sweep")
    done = forked(*words, before=partial(replace_at_step, tmp_path / "sweep", None))
    assert done.code == 4
    assert "sweep is no longer the folder that this process works in" in done.err
    assert not (tmp_path / "sweep").exists()
    assert forked("resume=moved").code == 0


def remove_lock_at_step(run: Path, second: Path) -> None:
    def remove() -> None:
        (run / ".lock").unlink()
        assert is_locked(run)
        done = Forked(run.parent)("resume=run")
        second.write_text(f"{done.code} {done.err}")

    KEPT.enter_context(at_step(STOPPED_AT, remove))


def test_a_lock_that_is_removed_during_a_run(whole: Path, tmp_path: Path, forked: Forked) -> None:
    """The folder itself is locked."""
    second = tmp_path / "second"
    before = partial(remove_lock_at_step, tmp_path / "run", second)
    done = forked(*WORDS, "hydra.run.dir=run", before=before)
    assert (done.code, done.err) == (0, "")
    assert second.read_text().startswith("75 error: run is in use by another process")
    finish_like(tmp_path / "run", whole)


def test_a_file_system_that_locks_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS: the file is the lock, and a process whose lock was removed stops."""
    flock = fcntl.flock

    def on_nfs(descriptor: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() and operation & fcntl.LOCK_EX:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", on_nfs)
    run = tmp_path / "run"
    with lock(run):
        assert is_locked(run)
        with pytest.raises(InUseError), lock(run):
            pass
        write_atomically(run / "file", b"1")
        (run / ".lock").unlink()
        with pytest.raises(MovedError):
            write_atomically(run / "file", b"2")
        with pytest.raises(MovedError):
            append_line(run / "file", "2")
    assert contents(run) == {"file": b"1"}
    assert not is_locked(run)
