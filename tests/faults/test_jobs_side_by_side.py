"""Jobs that go wrong beside others in one process, which leaves the others alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli.run_folder.lock import lock
from sae_cli.training import in_one_pass
from sae_cli.training.loop import evaluate
from sae_cli.training.update import Update
from tests.faults.causes import KEPT
from tests.faults.disks import mounted
from tests.faults.runs import contents
from tests.faults.sweeps import SMALL, TOGETHER, at_step_of, differing, job, pretend_a_gpu, statuses
from tests.forked import Forked

FOUR = ("-m", "model=ae", *SMALL, "checkpoint_steps=3", "epochs=3", "hydra.sweep.dir=sweep")
SEEDS = (*FOUR, "seed=0,1,2,3", TOGETHER)
BUT_ONE = ["finished", "failed", "finished", "finished"]
X = np.random.default_rng(0).random((2000, 12), dtype=np.float32)

Fault = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert Forked(folder)(*SEEDS).code == 0
    return folder / "sweep"


def finish_like(forked: Forked, whole: Path) -> None:
    done = forked("resume=sweep", TOGETHER)
    assert (done.code, done.err) == (0, "")
    assert differing(forked.cwd / "sweep", whole) == []


@pytest.fixture
def second(whole: Path, tmp_path: Path) -> Path:
    """The place of the second job's folder, in a sweep that has begun, and no job of it."""
    (tmp_path / "sweep").mkdir()
    shutil.copy(whole / "sweep.yaml", tmp_path / "sweep")
    return tmp_path / "sweep" / job(whole, 1).name


@pytest.fixture
def small_disk(second: Path) -> Iterator[Path]:
    """The folder of the second job, with room for a checkpoint or two."""
    with mounted(second, "size=120k"):
        yield second


def test_a_disk_that_is_full_for_one_job(small_disk: Path, whole: Path, forked: Forked) -> None:
    done = forked(*SEEDS)
    assert done.code == 1
    assert done.error.startswith("error in job 1_") and "No space left on device" in done.error
    assert statuses(forked.cwd / "sweep") == BUT_ONE
    os.system(f"mount -o remount,size=4m '{small_disk}'")
    finish_like(forked, whole)


def test_a_disk_that_is_full_for_all(whole: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=400k") as disk:
        forked = Forked(disk)
        done = forked(*SEEDS)
        assert done.code in {1, 4}
        assert "No space left on device" in done.err
        assert "Traceback" not in done.err
        os.system(f"mount -o remount,size=40m '{disk}'")
        finish_like(forked, whole)


def test_a_job_whose_folder_holds_a_link(
    second: Path, whole: Path, tmp_path: Path, forked: Forked
) -> None:
    second.mkdir()
    (tmp_path / "elsewhere").write_text("mine")
    (second / "train.log").symlink_to(tmp_path / "elsewhere")
    done = forked(*SEEDS)
    assert done.code == 1
    assert "is a link, which no run makes" in done.error
    assert (tmp_path / "elsewhere").read_text() == "mine"
    (second / "train.log").unlink()
    finish_like(forked, whole)


@pytest.mark.parametrize("other", [True, False])
def test_a_job_whose_folder_is_moved(
    other: bool, whole: Path, tmp_path: Path, forked: Forked
) -> None:
    """Nothing is written into what has come into its place."""
    folder = tmp_path / "sweep" / job(whole, 1).name
    shutil.copytree(job(whole, 2), tmp_path / "other")
    expected = contents(tmp_path / "other")
    before = partial(at_step_of, 1, 4, partial(move, folder, tmp_path, other=other), 1)
    done = forked(*SEEDS, before=before)
    assert done.error.startswith("error in job 1_")
    assert "is no longer the folder that this process works in" in done.error
    if other:
        assert contents(folder) == expected
        folder.rename(tmp_path / "away")
    else:
        assert done.code == 1
        assert not folder.exists()
    (tmp_path / "moved").rename(folder)
    finish_like(forked, whole)


def move(folder: Path, to: Path, *, other: bool) -> None:
    folder.rename(to / "moved")
    if other:
        (to / "other").rename(folder)


def test_a_sweep_that_is_moved(whole: Path, tmp_path: Path, forked: Forked) -> None:
    sweep = tmp_path / "sweep"
    before = partial(at_step_of, 1, 4, partial(move, sweep, tmp_path, other=False), 1)
    done = forked(*SEEDS, before=before)
    assert done.code == 4
    assert "sweep is no longer the folder that this process works in" in done.error
    assert not sweep.exists()
    (tmp_path / "moved").rename(sweep)
    finish_like(forked, whole)


def test_a_job_that_another_process_is_at_work_on(
    second: Path, whole: Path, forked: Forked
) -> None:
    with lock(second):
        done = forked(*SEEDS)
    assert done.code == 1
    assert done.error.startswith("error in job 1_") and "is in use by process" in done.error
    assert statuses(forked.cwd / "sweep") == ["finished", None, "finished", "finished"]
    finish_like(forked, whole)


def cut(file: Path) -> None:
    os.truncate(file, 0)


def fill(file: Path) -> None:
    """Write other values over some."""
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(np.full(4000, 0.5, np.float32).tobytes())


def touch(file: Path) -> None:
    os.utime(file)


def arrays(folder: Path) -> tuple[str, ...]:
    """Words of a sweep over two files of data, two jobs each."""
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, X)
    data = (f"dataset.path={folder / 'a.npy'},{folder / 'b.npy'}", "seed=0,1")
    return (*FOUR, "dataset=array", "dataset.test=0.1", "batch_size=400", *data)


@pytest.mark.parametrize(
    ("fault", "says"), [(cut, "became shorter while it was read"), (fill, "holds other values now")]
)
def test_data_of_two_jobs_that_change(
    fault: Fault, says: str, tmp_path: Path, forked: Forked
) -> None:
    """All who read the file notice; those who read another one do not."""
    words = arrays(tmp_path)
    assert forked(*words, "sweep.together=off", "hydra.sweep.dir=whole").code == 0
    before = partial(at_step_of, 0, 4, partial(fault, tmp_path / "a.npy"), 1)
    done = forked(*words, TOGETHER, before=before)
    assert done.code == 1
    assert [says in line for line in done.err.splitlines()] == [True] * 2, done.err
    assert statuses(tmp_path / "sweep") == ["failed", "failed", "finished", "finished"]
    shutil.copy(tmp_path / "b.npy", tmp_path / "a.npy")
    finish_like(forked, tmp_path / "whole")


def test_data_that_are_touched(tmp_path: Path, forked: Forked) -> None:
    """Each job that reads the file says so."""
    before = partial(at_step_of, 0, 4, partial(touch, tmp_path / "a.npy"), 1)
    done = forked(*arrays(tmp_path), TOGETHER, before=before)
    assert (done.code, done.err) == (0, "")
    logs = [(job(tmp_path / "sweep", n) / "train.log").read_text() for n in range(4)]
    assert ["was touched or written to" in log for log in logs] == [True, True, False, False]


def test_data_that_are_missing(tmp_path: Path, forked: Forked) -> None:
    words = (*arrays(tmp_path), TOGETHER)
    assert forked(*words, "hydra.sweep.dir=whole").code == 0
    (tmp_path / "a.npy").rename(tmp_path / "away.npy")
    done = forked(*words)
    assert done.code == 1
    assert ["a.npy" in line for line in done.err.splitlines()] == [True] * 2, done.err
    assert statuses(tmp_path / "sweep") == ["failed", "failed", "finished", "finished"]
    (tmp_path / "away.npy").rename(tmp_path / "a.npy")
    finish_like(forked, tmp_path / "whole")


def crowd() -> None:
    """Pretend a GPU, which has room for the steps of two jobs at most; for a ``before``."""
    pretend_a_gpu()
    take = in_one_pass.update_all

    def update_all(updates: Sequence[Update], *given: Any, **options: Any) -> Any:
        if len(updates) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return take(updates, *given, **options)

    patch = KEPT.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(in_one_pass, "update_all", update_all)


def test_a_group_that_is_too_large_for_the_gpu(tmp_path: Path, forked: Forked) -> None:
    """It is divided, as often as need be."""
    words = (*FOUR, "seed=0,1,2,3,4,5", TOGETHER)
    done = forked(*words, before=crowd)
    assert done.code == 0
    assert done.err.count("needs more memory than the GPU has; they go on in two halves") == 3
    assert statuses(forked.cwd / "sweep") == ["finished"] * 6
    (tmp_path / "sweep").rename(tmp_path / "divided")
    assert forked(*words, before=pretend_a_gpu).code == 0
    assert differing(tmp_path / "sweep", tmp_path / "divided") == []


def crowd_one() -> None:
    """Pretend a GPU that has no room once, for the evaluation of one job; for a ``before``."""
    pretend_a_gpu()

    def crowded(*given: Any) -> Any:
        if not Path("met").exists():
            Path("met").touch()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return evaluate(*given)

    patch = KEPT.enter_context(pytest.MonkeyPatch.context())
    patch.setattr("sae_cli.runs.stage.evaluate", crowded)


def test_an_evaluation_that_is_too_large_for_the_gpu(forked: Forked) -> None:
    """Its job goes on alone, with all the memory."""
    done = forked(*SEEDS, before=crowd_one)
    assert (done.code, done.err) == (0, "")
    assert statuses(forked.cwd / "sweep") == ["finished"] * 4
