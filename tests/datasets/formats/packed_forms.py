"""Arrays in the formats that are unpacked, and unpacking them to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sae_cli.datasets import Dataset
from sae_cli.datasets.formats import packed, unpacked
from sae_cli.datasets.rows import take_rows
from tests.datasets.test_array_formats import X, save_hdf5, save_lists, save_table

Save = Callable[[Path, np.ndarray], object]
BORDERS = (0, 7, 8, 30, 50)
ROW_BYTES = 24


@contextmanager
def on_disk(piece_bytes: int = 7 * ROW_BYTES) -> Iterator[None]:
    """Unpack all to disk, a few rows at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacked, "MOST_IN_MEMORY", 0)
        patch.setattr(packed, "PIECE_BYTES", piece_bytes)
        yield


def no_memory(monkeypatch: pytest.MonkeyPatch, free: int = 0) -> None:
    monkeypatch.setattr(unpacked, "free_memory", lambda: free)


def save_text(path: Path, array: np.ndarray, *, names: bool = False) -> None:
    delimiter = {".csv": ",", ".tsv": "\t"}[path.suffix]
    options: dict[str, Any] = {"header": "a,a,b,c,d,e", "comments": ""} if names else {}
    np.savetxt(path, array, "%.9g", delimiter, **options)


def save_two_dimensional(path: Path, array: np.ndarray) -> None:
    save_lists(path, pa.array(array.reshape(len(array), 2, 3).tolist()))


def save_mixed(path: Path, array: np.ndarray) -> None:
    """Columns of three types, of which no two make the type of all."""
    kinds = ("int16", "uint16", "float32")
    columns = {f"{n}": pa.array((100 * array[:, n]).clip(0).astype(kinds[n % 3])) for n in range(6)}
    pq.write_table(pa.table(columns), path, row_group_size=20)


FORMS: dict[str, tuple[str, Save]] = {
    "npz": ("npz", lambda path, array: np.savez(path, x=array)),
    "deflated": ("npz", lambda path, array: np.savez_compressed(path, x=array)),
    "by columns": ("npz", lambda path, array: np.savez(path, x=np.asfortranarray(array))),
    "images": ("npz", lambda path, array: np.savez(path, x=array.reshape(-1, 1, 2, 3))),
    "bytes": ("npz", lambda path, array: np.savez(path, x=(9 * array).clip(0).astype(np.uint8))),
    "hdf5": ("h5", save_hdf5),
    "big-endian": ("h5", lambda path, array: save_hdf5(path, array.astype(">f4"))),
    "truth": ("h5", lambda path, array: save_hdf5(path, array > 0)),
    "chunks": ("h5", lambda p, a: save_hdf5(p, a, chunks=(3, 4), maxshape=(None, 6))),
    "tall chunks": (
        "h5",
        lambda path, array: save_hdf5(path, array, chunks=(len(array), 1), compression="gzip"),
    ),
    "deep chunks": (
        "h5",
        lambda path, array: save_hdf5(
            path, array.reshape(-1, 3, 2), chunks=(len(array), 2, 1), compression="lzf"
        ),
    ),
    "anndata": ("h5ad", save_hdf5),
    "table": ("parquet", save_table),
    "mixed": ("parquet", save_mixed),
    "halves": ("parquet", lambda path, array: save_table(path, array.astype(np.float16))),
    "lists": ("parquet", lambda path, array: save_lists(path, pa.array(array.tolist()))),
    "fixed lists": (
        "parquet",
        lambda path, array: save_lists(path, pa.array(list(array), pa.list_(pa.float32(), 6))),
    ),
    "lists of lists": ("parquet", save_two_dimensional),
    "csv": ("csv", save_text),
    "names": ("csv", lambda path, array: save_text(path, array, names=True)),
    "tsv": ("tsv", save_text),
}


def save_shards(folder: Path, form: str, array: np.ndarray = X) -> Path:
    ending, save = FORMS[form]
    folder.mkdir()
    for number, (start, end) in enumerate(pairwise(BORDERS)):
        save(folder / f"{number}.{ending}", array[start:end])
    return folder


def bits(data: Dataset) -> bytes:
    stored = data.train.stored
    rows = take_rows(stored, torch.arange(len(stored))).contiguous()
    return rows.view(torch.uint8).numpy().tobytes()


def save_shards_of(*arrays: np.ndarray, form: str) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        path.mkdir()
        ending, save = FORMS[form]
        for number, array in enumerate(arrays):
            save(path / f"{number}.{ending}", array)

    return save
