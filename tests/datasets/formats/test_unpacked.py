"""Values that were unpacked: those beyond what the memory should hold are mapped."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats import hdf5, parquet, unpacked
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.mapped import mapped_files
from sae_cli.datasets.formats.parts import to_part
from sae_cli.datasets.formats.unpacked import unpack
from sae_cli.datasets.rows import Part, Shards
from sae_cli.datasets.shards import open_arrays
from tests.datasets.test_array_formats import X, read, save_hdf5, save_lists, save_table, values

BORDERS = (0, 10, 25, 30, 50)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAE_CACHE", str(folder))
    return folder


def pieces(array: np.ndarray = X) -> list[Part]:
    return [to_part(array[a:b].copy(), "x.parquet") for a, b in pairwise(BORDERS)]


def rows(parts: list[Part]) -> np.ndarray:
    return torch.cat([part.values for part in parts]).numpy()


@pytest.mark.parametrize(
    ("room", "mapped"),
    [
        (0, [True]),
        (10 * 24, [False, True]),
        (25 * 24 - 1, [False, True]),
        (30 * 24, [False, False, False, True]),
        (1 << 30, [False] * 4),
    ],
)
def test_what_does_not_fit_is_mapped(room: int, mapped: list[bool], cache: Path) -> None:
    kept = unpack(iter(pieces()), room)
    assert [part.mapping is not None for part in kept] == mapped
    np.testing.assert_array_equal(rows(kept), X)
    assert {part.what for part in kept} == {"x.parquet"}
    # What is left of the file ends with the process.
    assert not cache.exists() or not [*cache.iterdir()]


def test_rows_keep_their_order_among_those_of_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X[10:25])
    (of_file,) = open_array_file(str(tmp_path / "x.npy"), "dataset.path").read(None)
    first, _, *others = pieces()
    kept = unpack([first, of_file, *others], 0)
    assert len(kept) == 3 and kept[1] is of_file
    np.testing.assert_array_equal(rows(kept), X)


def test_parts_that_differ(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give rows of one type and shape"):
        unpack([*pieces(), to_part(X[:, :3].copy(), "y.parquet")], 0)


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory takes it, if that has room."""
    usage = shutil.disk_usage(os.curdir)._replace(free=unpacked.LEFT_FREE + 10 * 24)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    kept = unpack(pieces(), 0)
    assert [part.mapping is not None for part in kept] == [True, False, True, False]
    np.testing.assert_array_equal(rows(kept), X)
    monkeypatch.setattr("sae_cli.datasets.formats.parts.free_memory", lambda: 10)
    with pytest.raises(ConfigError, match=r"of memory, and 0\.0 MB are free; save it as"):
        unpack(pieces(), 0)


def test_a_folder_that_cannot_be_made(cache: Path) -> None:
    cache.write_text("")
    kept = unpack(pieces(), 0)
    assert [part.mapping for part in kept] == [None] * 4


def test_a_disk_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"cannot be unpacked to .*; give SAE_CACHE a "):
        unpack(pieces(), 0)


FORMS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "npz": lambda path, array: np.savez_compressed(path, x=array),
    "h5": lambda path, array: save_hdf5(path, array, chunks=(3, 6), compression="gzip"),
    "parquet": save_table,
    "csv": lambda path, array: np.savetxt(path, array, delimiter=",", fmt="%.9g"),
}


@pytest.mark.parametrize("ending", FORMS)
def test_shards_that_are_more_than_the_memory_should_hold(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first 10 rows stay in memory, and one file for each shard takes the others."""
    (tmp_path / "acts").mkdir()
    for number, (start, end) in enumerate(pairwise(BORDERS)):
        FORMS[ending](tmp_path / "acts" / f"{number}.{ending}", X[start:end])
    monkeypatch.setattr("sae_cli.datasets.shards.MOST_IN_MEMORY", 10 * 8 * 6)
    stored = open_arrays(str(tmp_path / "acts"), "dataset.path").stored(
        {"npz": "x", "h5": "group/x"}.get(ending)
    )
    assert isinstance(stored, Shards)
    assert sum(part.mapping is not None for part in stored.parts) in (2, 3)
    np.testing.assert_allclose(stored.take_rows(torch.arange(50)).numpy(), X, rtol=1e-7)
    data = read(tmp_path / "acts", shuffle_seed=0)
    monkeypatch.undo()
    assert data.fingerprint() == read(tmp_path / "acts", shuffle_seed=0).fingerprint()


@pytest.mark.parametrize("form", ["table", "lists", "h5"])
def test_a_large_file_is_unpacked_piece_by_piece(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = hdf5 if form == "h5" else parquet
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 8 * 24)
    monkeypatch.setattr(module, "PIECE_BYTES", 7 * 24)
    path = tmp_path / ("x.h5" if form == "h5" else "x.parquet")
    if form == "lists":
        save_lists(path)
    else:
        FORMS["h5" if form == "h5" else "parquet"](path, X)
    file = open_array_file(str(path), "dataset.path")
    parts = file.read({"table": None, "lists": "x", "h5": "group/x"}[form])
    assert [part.mapping is not None for part in parts] == [False, True]
    np.testing.assert_array_equal(rows(parts), X)
    np.testing.assert_array_equal(values(read(path)), X)


@pytest.mark.parametrize("block", [0, 1024])
def test_hdf5_in_one_piece_is_mapped(tmp_path: Path, block: int) -> None:
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=block) as file:
        file["x"] = X
    data = read(tmp_path / "x.h5")
    np.testing.assert_array_equal(values(data), X)
    assert [file.path for file in data.files] == [tmp_path / "x.h5"]


@pytest.mark.parametrize("dtype", [">f4", "bool", ">i8"])
def test_hdf5_of_other_bytes_is_not(tmp_path: Path, dtype: str) -> None:
    array = (10 * X).clip(0).astype(dtype)
    save_hdf5(tmp_path / "x.h5", array)
    before = len(mapped_files())
    np.testing.assert_array_equal(values(read(tmp_path / "x.h5")), array.astype(np.float32))
    assert len(mapped_files()) == before
