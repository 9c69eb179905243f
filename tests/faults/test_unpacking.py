"""Arrays that are unpacked to disk: kills, signals, full disks, and files that change later."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sae_cli.core.bar import Bar
from sae_cli.datasets.formats import packed, unnamed_file, unpacked
from sae_cli.runs.train import train
from tests.datasets.test_array_formats import save_hdf5, save_table
from tests.faults.causes import KEPT
from tests.faults.disks import mounted
from tests.faults.runs import WORDS, at_step, config_of, finish_like, stop
from tests.forked import Forked
from tests.killing import results

X = np.random.default_rng(0).random((2000, 12), dtype=np.float32)
PATCH = pytest.MonkeyPatch()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the cache, with less room than the rows take."""
    with mounted(tmp_path / "disk", "size=64k") as folder:
        monkeypatch.setenv("SAE_CACHE", str(folder))
        yield folder


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """Shards whose rows are in groups and in chunks."""
    file = tmp_path / "x.h5"
    save_hdf5(file, X, chunks=(100, 5), compression="gzip")
    return file


def words(path: Path) -> tuple[str, ...]:
    return (*WORDS, "dataset=array", f"dataset.path={path}", "dataset.test=0.1", "batch_size=400")


def to_disk(*, free: int | None = None) -> None:
    """Unpack all to disk, a few rows at a time, and where it has no room, into so much memory."""
    PATCH.setattr(unpacked, "MOST_IN_MEMORY", 0)
    PATCH.setattr(packed, "PIECE_BYTES", 12_000)
    if free is not None:
        PATCH.setattr(unpacked, "free_memory", lambda: free)
        PATCH.setattr(unnamed_file, "LEFT_FREE", 0)


def in_the_middle(do: Callable[[], object]) -> None:
    """Do it when the third piece has been written."""
    to_disk()
    update, seen = Bar.update, list[int]()

    def patched(bar: Bar, n: int = 1) -> bool | None:
        seen.append(n)
        if len(seen) == 3:
            do()
        return update(bar, n)

    PATCH.setattr(Bar, "update", patched)


def kill(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_rows_are_unpacked(
    number: int, array: Path, cache: Path, tmp_path: Path, forked: Forked
) -> None:
    before = partial(in_the_middle, partial(kill, number))
    done = forked(*words(array), "hydra.run.dir=run", before=before)
    assert done.code == (-9 if number == signal.SIGKILL else 128 + number), done.err
    assert not [*cache.iterdir()]
    assert not (tmp_path / "run").exists()


def test_neither_disk_nor_memory_has_room(
    array: Path, small_disk: Path, tmp_path: Path, forked: Forked
) -> None:
    before = partial(to_disk, free=X.nbytes - 1)
    done = forked(*words(array), "hydra.run.dir=run", before=before)
    assert done.code == 2, done.err
    assert f"{array}[group/x] unpacks to 0.1 MB, and 0.1 MB of memory are free; " in done.error
    assert f"the disk of {small_disk} has room for 0.1 MB, and it takes " in done.error
    assert "meanwhile; give SAE_CACHE a folder on a disk with room, or save it as" in done.error
    assert not [*small_disk.iterdir()]
    assert not (tmp_path / "run").exists()
    # The memory takes what a disk does not.
    done = forked(*words(array), "hydra.run.dir=run", before=partial(to_disk, free=X.nbytes))
    assert (done.code, done.err) == (0, "")
    assert not [*small_disk.iterdir()]


def no_room_kept() -> None:
    """Have the disk say that it has room, and keep none."""
    to_disk(free=0)
    PATCH.setattr(os, "posix_fallocate", lambda *given: None)
    large = os.statvfs("/")
    PATCH.setattr(os, "statvfs", lambda path: large)


@pytest.mark.parametrize("form", ["chunks", "tall chunks", "groups", "text"])
def test_a_disk_that_fills_while_rows_are_unpacked(
    form: str, small_disk: Path, tmp_path: Path, forked: Forked
) -> None:
    path = tmp_path / {"groups": "x.parquet", "text": "x.csv"}.get(form, "x.h5")
    if form == "groups":
        save_table(path, X)
    elif form == "text":
        np.savetxt(path, X, delimiter=",")
    else:
        chunks = (100, 12) if form == "chunks" else (2000, 1)
        save_hdf5(path, X, chunks=chunks)
    done = forked(*words(path), "hydra.run.dir=run", before=no_room_kept)
    assert done.code == 4, done.err
    assert f"cannot be unpacked to {small_disk} (No space left on device); give " in done.error
    assert not [*small_disk.iterdir()]
    assert not (tmp_path / "run").exists()


def after_some_steps(array: Path, cache: Path) -> None:
    """Remove the folder of the cache, and empty the file."""
    to_disk()
    KEPT.enter_context(at_step(4, cache.rmdir))
    KEPT.enter_context(at_step(5, partial(os.truncate, array, 0)))


def test_files_that_change_when_they_are_unpacked(
    array: Path, cache: Path, tmp_path: Path, forked: Forked
) -> None:
    """As with rows in memory, the run has its own by then; the folder of the cache may go, too."""
    train(config_of(*words(array)[len(WORDS) :]), tmp_path / "whole", [])

    before = partial(after_some_steps, array, cache)
    done = forked(*words(array), "hydra.run.dir=run", before=before)
    assert (done.code, done.err) == (0, "")
    assert str(array.parent) not in done.out.partition("epoch 0")[2].replace(str(array), "", 1)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_stopped_run_resumes_on_unpacked_rows(
    array: Path, cache: Path, tmp_path: Path, forked: Forked
) -> None:
    """Where rows are kept is no part of a run, nor of what its data are."""
    config = config_of(*words(array)[len(WORDS) :])
    train(config, tmp_path / "whole", [])
    stop(config, tmp_path / "run")
    done = forked("resume=run", before=to_disk)
    assert done.code == 0, done.err
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    done = Forked(tmp_path, "sae_reproduce")("run", "--into", "again", before=to_disk)
    assert done.code == 0, done.err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacked, "MOST_IN_MEMORY", 0)
        stop(config, tmp_path / "on disk")
    finish_like(tmp_path / "on disk", tmp_path / "whole")


@pytest.mark.parametrize("together", ["off", "on"])
def test_jobs_on_unpacked_rows(
    together: str, array: Path, cache: Path, tmp_path: Path, forked: Forked
) -> None:
    given = ("-m", *words(array), "seed=0,1", f"sweep.together={together}")
    assert forked(*given, "hydra.sweep.dir=memory").code == 0
    done = forked(*given, "hydra.sweep.dir=disk", before=to_disk)
    assert done.code == 0, done.err
    assert not [*cache.iterdir()]
    jobs = [path.parent for path in (tmp_path / "memory").glob("*/model.safetensors")]
    assert len(jobs) == 2
    for job in jobs:
        assert results(tmp_path / "disk" / job.name) == results(job)
