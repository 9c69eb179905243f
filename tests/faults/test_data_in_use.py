"""Data files that are cut off, written to, replaced or touched while a run reads them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
import torch

from sae_cli.datasets import Dataset, dataset
from sae_cli.runs.resume import resume
from sae_cli.runs.train import train
from tests.faults.runs import (
    LAST,
    STOPPED_AT,
    WORDS,
    at_step,
    config_of,
    contents,
    finish_like,
    saved_state,
    status,
    stop,
)
from tests.forked import Forked
from tests.killing import results

KEPT = ExitStack()
Fault = Callable[[Path], None]
X = np.random.default_rng(0).random((2000, 12), dtype=np.float32)


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """A file of 24 pages of memory, whose last ones can vanish while the first are there."""
    file = tmp_path / "array.npy"
    np.save(file, X)
    return file


def words(file: Path) -> tuple[str, ...]:
    path = file.parent if file.parent.name == "shards" else file
    return (*WORDS, "dataset=array", f"dataset.path={path}", "dataset.test=0.1", "batch_size=400")


def whole_run(file: Path) -> Path:
    """Train a run that nothing happens to."""
    folder = file.with_name("whole")
    train(config_of(*words(file)[len(WORDS) :]), folder, [])
    return folder


def in_the_run(fault: Fault, file: Path, step: int = STOPPED_AT) -> None:
    """Do it after this step, between two reads of the file."""
    KEPT.enter_context(at_step(step, partial(fault, file)))


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 3)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def fill(file: Path, value: float = 0.5) -> None:
    """Write other values over some, and set the time back as copying tools do."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(np.full(4000, value, np.float32).tobytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(file: Path) -> None:
    np.save(file.with_name("other.npy"), X + 1)
    file.with_name("other.npy").rename(file)


def save_as_safetensors(file: Path) -> Path:
    safetensors.numpy.save_file({"x": X}, file.with_suffix(".safetensors"))
    return file.with_suffix(".safetensors")


def save_as_torch(file: Path) -> Path:
    torch.save({"x": torch.from_numpy(X)}, file.with_suffix(".pt"))
    return file.with_suffix(".pt")


def save_as_arrow(file: Path) -> Path:
    column = pa.FixedSizeListArray.from_arrays(X.reshape(-1), X.shape[1])
    with pa.OSFile(str(file.with_suffix(".arrow")), "wb") as opened:
        table = pa.table({"x": column})
        with pa.ipc.new_file(opened, table.schema) as writer:
            writer.write_table(table)
    return file.with_suffix(".arrow")


def save_as_shards(file: Path) -> Path:
    """Give the last shard of a folder."""
    folder = file.with_name("shards")
    folder.mkdir()
    for number, rows in enumerate(np.split(X, [700, 800])):
        np.save(folder / f"{number}.npy", rows)
    return folder / "2.npy"


FORMATS = (Path, save_as_safetensors, save_as_torch, save_as_arrow, save_as_shards)


def check_stopped(run: Path, file: Path, good: bytes, whole: Path) -> None:
    """Check that nothing was saved that was learnt of other data, and resume with the right."""
    assert status(run) == "failed"
    assert saved_state(run / LAST).step <= STOPPED_AT
    file.write_bytes(good)
    finish_like(run, whole)


@pytest.mark.parametrize(
    ("fault", "as_saved"),
    [
        *((empty, as_saved) for as_saved in FORMATS),
        (cut, Path),
        *(pytest.param(cut, as_saved, marks=pytest.mark.slow) for as_saved in FORMATS[1:]),
    ],
)
def test_data_that_become_shorter_during_a_run(
    fault: Fault, as_saved: Callable[[Path], Path], array: Path, tmp_path: Path, forked: Forked
) -> None:
    file = as_saved(array)
    whole, good = whole_run(file), file.read_bytes()
    done = forked(*words(file), "hydra.run.dir=run", before=partial(in_the_run, fault, file))
    assert done.code == 2
    assert f"{file} became shorter while it was read (" in done.error
    check_stopped(tmp_path / "run", file, good, whole)


def test_data_that_become_shorter_at_any_moment(
    array: Path, tmp_path: Path, forked: Forked
) -> None:
    """From outside, while the run is somewhere between reading and saving."""
    more = (*words(array), "hydra.run.dir=run", "epochs=100000", "checkpoint_steps=null")
    metrics = tmp_path / "run" / "metrics.jsonl"
    with forked.start(*more) as started:
        started.until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 2)
        cut(array)
        done = started.wait()
    assert done.code == 2
    assert "became shorter" in done.error
    assert status(tmp_path / "run") == "failed"


def stream_and(fault: Fault, file: Path) -> None:
    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(
        dataset, "too_large", lambda size, device: True
    )
    in_the_run(fault, file)


def test_data_that_become_shorter_while_they_are_streamed(
    array: Path, tmp_path: Path, forked: Forked
) -> None:
    """A thread of its own reads a few batches ahead."""
    whole, good = whole_run(array), array.read_bytes()
    done = forked(*words(array), "hydra.run.dir=run", before=partial(stream_and, empty, array))
    assert done.code == 2
    assert "became shorter" in done.error
    check_stopped(tmp_path / "run", array, good, whole)


def while_read(fault: Fault, file: Path) -> None:
    """Do it when the range of the values is known, and the fingerprint is not."""
    fingerprint = Dataset.fingerprint

    def patched(data: Dataset) -> str:
        fault(file)
        return fingerprint(data)

    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(Dataset, "fingerprint", patched)


@pytest.mark.parametrize(("fault", "says"), [(cut, "became shorter"), (fill, "was written to")])
def test_data_that_change_before_the_training(
    fault: Fault, says: str, array: Path, tmp_path: Path, forked: Forked
) -> None:
    before = partial(while_read, fault, array)
    done = forked(*words(array), "hydra.run.dir=run", before=before)
    assert done.code == 2
    assert f"{array} {says} while it was read" in done.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [0.5, np.inf])
def test_data_that_change_during_a_run(
    value: float, array: Path, tmp_path: Path, forked: Forked
) -> None:
    """Values that make the loss infinite are not taken for a divergence."""
    whole, good = whole_run(array), array.read_bytes()
    before = partial(in_the_run, partial(fill, value=value), array)
    done = forked(*words(array), "hydra.run.dir=run", before=before)
    assert done.code == 2
    assert f"{array} was written to while it was read, and holds other values now" in done.error
    check_stopped(tmp_path / "run", array, good, whole)


@pytest.mark.parametrize("fault", [cut, fill])
def test_data_that_change_while_a_stopped_run_resumes(
    fault: Fault, array: Path, tmp_path: Path, forked: Forked
) -> None:
    whole, good = whole_run(array), array.read_bytes()
    stop(config_of(*words(array)[len(WORDS) :]), tmp_path / "run", 4)
    done = forked("resume=run", before=partial(in_the_run, fault, array))
    assert done.code == 2
    assert f"{array} " in done.error
    check_stopped(tmp_path / "run", array, good, whole)


def in_the_closing(fault: Fault, file: Path) -> None:
    """Do it when the training is done, before the closing evaluation."""
    from sae_cli.runs import closing
    from sae_cli.runs import train as runs

    evaluate = closing.closing_metrics

    def patched(run: Any) -> dict[str, float]:
        fault(file)
        return evaluate(run)

    KEPT.enter_context(pytest.MonkeyPatch.context()).setattr(runs, "closing_metrics", patched)


@pytest.mark.parametrize("fault", [empty, fill])
def test_data_that_change_in_the_closing_evaluation(
    fault: Fault, array: Path, tmp_path: Path, forked: Forked
) -> None:
    whole, good = whole_run(array), array.read_bytes()
    done = forked(*words(array), "hydra.run.dir=run", before=partial(in_the_closing, fault, array))
    assert done.code == 2
    assert f"{array} " in done.error
    assert not {"model.safetensors", "summary.json"} & set(contents(tmp_path / "run"))
    array.write_bytes(good)
    finish_like(tmp_path / "run", whole)


def test_data_that_change_during_a_reproduction(
    array: Path, tmp_path: Path, forked: Forked
) -> None:
    whole = whole_run(array)
    before = contents(whole)
    reproduce = Forked(tmp_path, "sae_reproduce")
    done = reproduce("whole", "--into", "again", before=partial(in_the_run, empty, array))
    assert done.code == 2
    assert "became shorter" in done.error
    assert status(tmp_path / "again") == "failed"
    assert contents(whole) == before


def test_data_of_one_job_that_change_during_a_sweep(
    array: Path, tmp_path: Path, forked: Forked
) -> None:
    """The other job has another file."""
    np.save(tmp_path / "second.npy", X)
    files = f"dataset.path={array},{tmp_path / 'second.npy'}"
    before = partial(in_the_run, empty, array)
    done = forked("-m", *words(array), files, "hydra.sweep.dir=sweep", before=before)
    assert done.code == 1
    assert f"{array} became shorter" in done.error
    jobs = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert [status(job) for job in jobs] == ["failed", "finished"]


def test_data_that_are_replaced_during_a_run(array: Path, tmp_path: Path, forked: Forked) -> None:
    """By renaming, as most programs replace a file: the one that is mapped stays as it was."""
    whole = whole_run(array)
    before = partial(in_the_run, replace, array)
    done = forked(*words(array), "hydra.run.dir=run", before=before)
    assert (done.code, done.err) == (0, "")
    assert done.out.count(f"{array} was replaced, moved or removed: this run reads the file") == 1
    assert results(tmp_path / "run") == results(whole)


def test_data_that_are_touched_during_a_run(array: Path, tmp_path: Path, forked: Forked) -> None:
    whole = whole_run(array)
    done = forked(*words(array), "hydra.run.dir=run", before=partial(in_the_run, os.utime, array))
    assert (done.code, done.err) == (0, "")
    assert done.out.count(f"{array} was touched or written to: it holds the same values") == 1
    assert results(tmp_path / "run") == results(whole)


def write_idx(file: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    file.write_bytes(gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()))


def in_the_cache(fault: Fault, cache: Path) -> None:
    """Do it to the largest entry, that of the training images."""
    KEPT.enter_context(
        at_step(4, lambda: fault(max(cache.iterdir(), key=lambda file: file.stat().st_size)))
    )


@pytest.mark.parametrize("fault", [empty, fill])
def test_the_cache_is_changed_during_a_run(
    fault: Fault, tmp_path: Path, forked: Forked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The damaged entry is made again from the files when the run resumes."""
    monkeypatch.setenv("SAE_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name, n in (("train", 60), ("t10k", 20)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 28, 28), "B"))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte.gz", rng.integers(0, 10, n, "B"))
    own = (
        *("model=ae", "dataset=kmnist", f"dataset.root={tmp_path}", "dataset.verify=false"),
        *("dataset.val=10", "epochs=4", "batch_size=10", "device=cpu", "pictures=false"),
    )
    assert forked(*own, "hydra.run.dir=whole").code == 0
    before = partial(in_the_cache, fault, tmp_path / "cache")
    done = forked(*own, "hydra.run.dir=run", before=before)
    assert done.code == 2
    assert f"{tmp_path / 'cache'}" in done.error
    resume(tmp_path / "run", {})
    assert results(tmp_path / "run") == results(tmp_path / "whole")
