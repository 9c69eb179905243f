"""Files of PyTorch, HDF5, Parquet, Arrow and text from a stranger: hostile ones by structure."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from tests.fuzz.checkpoints import PICKLES
from tests.fuzz.mutations import NUMBERS, damage

Faults = Callable[[bytes, random.Random], Iterator[bytes]]

X = np.arange(300, dtype=np.float32).reshape(50, 6)


def array_formats(x: NDArray[np.float32]) -> dict[str, tuple[bytes, Faults]]:
    """Give valid bytes and faults for each ending, of the array ``x``."""
    return {
        "pt": (_saved(torch.from_numpy(x)), torch_faults),
        "h5": (_hdf5(x), hdf5_faults),
        "parquet": (_parquet({"x": list(x)}), table_faults(_parquet)),
        "arrow": (_arrow({"x": list(x)}), table_faults(_arrow)),
        "csv": ("\n".join(",".join(map(str, row)) for row in x).encode(), text_faults),
    }


def torch_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless archives of other things than tensors, of views, and of damaged members."""
    x = torch.from_numpy(X)
    objects: list[Any] = [
        *NUMBERS, None, "x", [], {}, [x], (x, x), {"a": x, "b": x}, {1: x}, {"a": {"b": x}}, X,
        torch.ones(()), torch.ones(1).expand(10**9, 6), torch.eye(6).to_sparse(), torch.empty(0, 3),
        x.to(torch.complex64), x.to(torch.float8_e5m2), torch.full((9, 2), torch.nan), x.bool(),
        x[:, 0], torch.Size([1]), torch.float32, {"a": 1},
    ]  # fmt: skip
    while True:
        if rng.random() < 0.4:
            yield _saved(rng.choice(objects))
            continue
        pickled, method = None, rng.choice([zipfile.ZIP_STORED] * 4 + [zipfile.ZIP_DEFLATED])
        if rng.random() < 0.5:
            pickled = rng.choice(PICKLES)
        target = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(valid)) as old, zipfile.ZipFile(target, "w", method) as new:
            for name in old.namelist():
                content = old.read(name)
                if name.endswith("data.pkl"):
                    content = damage(content, rng) if pickled is None else pickled
                elif rng.random() < 0.1:
                    content = rng.choice([b"", content[:-5], bytes(10**7), b"big"])
                new.writestr(name, content)
        yield target.getvalue()


def hdf5_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless files whose data sets are empty, huge, elsewhere, or hold no numbers."""
    while True:
        target = io.BytesIO()
        with h5py.File(target, "w") as file:
            for name in rng.sample(["x", "y", "a/b", "X"], rng.randint(0, 2)):
                fault = rng.randrange(8)
                if fault == 0:
                    file[name] = h5py.ExternalLink("/etc/hostname", "x")
                elif fault == 1:
                    file[name] = h5py.SoftLink("/")
                elif fault == 2:
                    shape = rng.choice([(10**9, 10**9), (10**12,), (2**40, 6), (50, 2**30)])
                    file.create_dataset(name, shape, rng.choice(["f4", "u1"]), chunks=True)
                elif fault == 3:
                    file.create_dataset(name, (50, 6), "f4", external=[("/etc/passwd", 0, 1200)])
                elif fault == 4:
                    file[name] = rng.choice(["text", np.bytes_(b"x"), X.astype("c8"), X[:0]])
                elif fault == 5:
                    file[name] = np.zeros(9, [("a", "f4"), ("b", "i2")])
                elif fault == 6:
                    file.create_dataset(name, (50, 6), rng.choice([">f4", "f2", "u8", "?"]))
                else:
                    array = rng.choice([X, X * np.nan, X[0], X[:2], X[:, :0]])
                    packed = {"compression": "gzip"} if array.size and rng.random() < 0.5 else {}
                    file.create_dataset(name, data=array, **packed)
        yield target.getvalue()


def table_faults(save: Callable[[dict[str, Any]], bytes]) -> Faults:
    """Endless tables whose columns are of other types, ragged, or have missing values."""
    columns: list[Any] = [
        list(X), [*X[:5], None], [[1.0], [1.0, 2.0]], [[None, 1.0]], ["a", "b"], [1, None], [],
        [[["a"]]], [{"a": 1.0}], [[[1.0, 2.0]]] * 9, [[[1.0], [1.0, 2.0]]], [[]] * 5, [b"x"] * 5,
        pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), pa.nulls(5), [True, False] * 5,
        pa.array(["a", "b"] * 9).dictionary_encode(), [1.0] * 9, [[1], [2]] * 9,
    ]  # fmt: skip

    def faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
        while True:
            chosen = [pa.array(column) for column in rng.sample(columns, rng.randint(0, 2))]
            length = min((len(column) for column in chosen), default=0)
            names = rng.sample(["x", "y", "a.b", "", "__index_level_0__"], len(chosen))
            yield save({name: c.slice(0, length) for name, c in zip(names, chosen, strict=True)})

    return faults


def text_faults(valid: bytes, rng: random.Random) -> Iterator[bytes]:
    """Endless tables of which a cell, a row or the encoding is wrong."""
    cells = ["", "x", "nan", "1e999", '"', '"1', "1\0", "\ufeff1", "1_0", " 1 ", "0x1", "9" * 5000]
    whole = [
        b"",
        b"\n" * 99,
        b"\xff\xfe",
        b",,,\n",
        b'"' * 999,
        b"a" * 10**6,
        b"1,2\r\n3,4",
        b"1\n",
    ]
    while True:
        if rng.random() < 0.2:
            yield rng.choice(whole)
            continue
        rows = [line.split(",") for line in valid.decode().splitlines()]
        row = rng.choice(rows)
        if rng.random() < 0.3:
            row.append("1")
        else:
            row[rng.randrange(len(row))] = rng.choice(cells)
        yield "\n".join(",".join(row) for row in rows).encode()


def _saved(content: Any) -> bytes:
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def _hdf5(x: NDArray[np.float32]) -> bytes:
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.create_dataset("x", data=x, compression="gzip", chunks=(10, 6))
    return target.getvalue()


def _parquet(columns: dict[str, Any]) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    return target.getvalue()


def _arrow(columns: dict[str, Any]) -> bytes:
    table, target = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)
    return target.getvalue()
