"""Mapped files: what is noticed of their changes, and what a bus error becomes."""

from __future__ import annotations

import ctypes
import errno
import gc
import mmap
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError, MachineError
from sae_cli.core.signals import Stop
from sae_cli.datasets import DATASETS, Dataset
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.datasets.formats.mapped import MappedFile, mapped_files
from sae_cli.datasets.rows import Shards
from tests.datasets.test_cached_activations import cache, texts
from tests.datasets.test_shards import save_shards
from tests.forked import start

X = np.random.default_rng(0).random((3000, 8))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"


def read(file: Path, **options: object) -> Dataset:
    shares = {"divisor": 1.0, "val": 0.1, "test": 0.1, "shuffle_seed": None}
    section = {"name": "array", "path": str(file), "key": None, "labels": None} | shares
    return DATASETS.build(DATASETS.check(section | options))


def mapped(file: Path) -> list[MappedFile]:
    return [one for one in mapped_files() if one.path == file]


def mapped_in(folder: Path) -> list[MappedFile]:
    found = [one for one in mapped_files() if one.path.parent == folder]
    return sorted(found, key=lambda file: file.path)


def test_a_dataset_knows_the_files_that_it_is_still_read_from(tmp_path: Path, file: Path) -> None:
    """Its own, as long as it lives; an archive and labels are in memory."""
    np.save(tmp_path / "y.npy", np.arange(3000) % 3)
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(3000) % 3)
    safetensors.numpy.save_file({"a": X, "b": X}, tmp_path / "x.safetensors")
    one, other = (
        read(file, labels=str(tmp_path / "y.npy")),
        read(tmp_path / "x.safetensors", key="b"),
    )
    assert [found.path for found in one.files] == [file]
    assert [found.path for found in other.files] == [tmp_path / "x.safetensors"]
    assert read(tmp_path / "x.npz", key="x", labels="y").files == []
    n_open = len(os.listdir("/proc/self/fd"))
    del one
    gc.collect()
    assert not mapped(file) and not mapped(tmp_path / "y.npy")
    assert len(os.listdir("/proc/self/fd")) < n_open


@pytest.mark.parametrize("ending", ["npy", "safetensors", "pt"])
def test_a_dataset_knows_the_files_of_all_its_shards(tmp_path: Path, ending: str) -> None:
    data = read(save_shards(tmp_path / "shards", ending=ending))
    assert sorted(data.files, key=lambda file: file.path) == mapped_in(tmp_path / "shards")
    assert len(data.files) == 4
    assert data.to(torch.device("cpu")).files == data.files


def test_a_dataset_knows_the_files_of_cached_activations(tmp_path: Path) -> None:
    """Arrow's own arrays lie in the mapped file."""
    folder = cache(tmp_path / "acts", texts())
    data = read(folder)
    assert sorted(data.files, key=lambda file: file.path) == mapped_in(folder)
    assert len(data.files) == 3
    before = data.fingerprint()
    assert isinstance(data.train.stored, Shards)
    data.train.stored.release()
    assert data.fingerprint() == before
    del data
    gc.collect()
    assert not mapped_in(folder)


def test_every_array_of_a_file_is_as_numpy_reads_it(tmp_path: Path) -> None:
    for name, array in (("c", X), ("f", np.asfortranarray(X)), ("bytes", X.astype("u1"))):
        np.save(tmp_path / f"{name}.npy", array)
        loaded = open_array_file(str(tmp_path / f"{name}.npy"), "dataset.path").load(None).numpy()
        expected = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        np.testing.assert_array_equal(loaded, expected)
        assert loaded.strides == expected.strides


def test_what_a_look_tells(file: Path) -> None:
    stored = open_array_file(str(file), "dataset.path").load(None)
    (found,) = mapped(file)
    assert found.look() == found.first
    os.utime(file)
    touched = found.look()
    assert touched.differs(found.first)
    assert not found.look().differs(touched)
    with file.open("r+b") as opened:
        opened.seek(1000)
        opened.write(b"other")
    assert found.look().differs(touched)
    os.truncate(file, 1000)
    with pytest.raises(ConfigError, match=r"x\.npy became shorter while it was read \(1000 bytes"):
        found.look()
    assert len(stored) == 3000


def test_a_file_that_has_left_is_read_on(file: Path) -> None:
    stored = open_array_file(str(file), "dataset.path").load(None)
    (found,) = mapped(file)
    assert found.look().in_place
    np.save(file.with_name("other.npy"), X + 1)
    file.with_name("other.npy").rename(file)
    assert not found.look().in_place
    file.unlink()
    assert not found.look().in_place
    np.testing.assert_array_equal(stored, X)


def test_a_disk_that_fails_is_not_taken_for_a_file_that_was_cut_off(file: Path) -> None:
    """The system sends the same signal; zeros are read then, and the file is blamed for nothing."""
    stored = open_array_file(str(file), "dataset.path").load(None)
    stop = Stop()
    says = r"x\.npy could not be read \(the file itself has not changed\)"
    with pytest.raises(MachineError, match=says), bus_errors_raised(stop):
        signal.raise_signal(signal.SIGBUS)
        assert stop.number == signal.SIGBUS
        assert not stored.any()
    np.testing.assert_array_equal(np.load(file), X)


def test_a_network_disk_that_has_lost_the_file(file: Path) -> None:
    stored = open_array_file(str(file), "dataset.path").load(None)
    (found,) = mapped(file)

    def stale(descriptor: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        with pytest.raises(MachineError, match="Stale file handle"):
            found.look()
        assert found.has_shrunk()
    assert len(stored) == 3000


def by_numpy(stored: Tensor) -> None:
    """NumPy lets no other thread run while it copies."""
    assert not stored.numpy()[2000:].copy().any()


def by_threads(stored: Tensor) -> None:
    """All of them meet the page that is gone."""
    threads = [threading.Thread(target=stored.sum) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def by_sound_code(stored: Tensor) -> None:
    """What it makes of the zeros is not what the error is about."""
    raise ConfigError(f"all values are {float(stored.sum()):g}")


@pytest.mark.parametrize("read_again", [by_numpy, by_threads, by_sound_code])
def test_whoever_reads_a_page_that_is_gone(
    read_again: Callable[[Tensor], None], file: Path
) -> None:
    stored = open_array_file(str(file), "dataset.path").load(None)
    with pytest.raises(ConfigError, match="became shorter"), bus_errors_raised():
        os.truncate(file, 200)
        read_again(stored)


def test_a_file_that_was_lost_before_is_not_the_business_of_the_next(file: Path) -> None:
    """A job of a sweep may leave its data to the garbage collector."""
    stored = open_array_file(str(file), "dataset.path").load(None)
    (found,) = mapped(file)
    os.truncate(file, 0)
    found.replace_()
    with bus_errors_raised():
        assert not stored.any()


def test_handlers_of_others_are_put_back() -> None:
    """Those in C, too, such as that of faulthandler."""
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    own = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: None)
    address = ctypes.cast(own, ctypes.c_void_p).value
    before = set_handler(signal.SIGBUS, address)
    with bus_errors_raised():
        pass
    assert set_handler(signal.SIGBUS, before) == address


def fault_elsewhere(file: Path) -> None:
    with bus_errors_raised(), file.open("r+b") as opened:
        memory = mmap.mmap(opened.fileno(), 0)
        os.truncate(file, 0)
        memory[5000]


def test_a_bus_error_of_another_mapping_ends_the_process(file: Path) -> None:
    """As it does without a handler: nothing waits forever."""
    process = start(fault_elsewhere, file)
    process.join()
    assert process.exitcode == -signal.SIGBUS
