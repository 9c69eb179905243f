"""What unpacking takes of the memory, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MEASURE = """
import sys
from pathlib import Path
from sae_cli.datasets.formats import unpacked
from sae_cli.datasets.shards import open_arrays
import h5py, pyarrow.parquet
unpacked.MOST_IN_MEMORY = 0
def peak():
    # The peak that getrusage tells begins with that of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
if len(sys.argv) > 3:
    (found,) = open_arrays(sys.argv[1], "dataset.path").read(None)
    found.read()
    print(peak() - before, found.n_bytes + found.beside)
    raise SystemExit
stored = open_arrays(sys.argv[1], "dataset.path").stored(sys.argv[2] or None)
print(peak() - before, stored.nbytes)
"""


def save_wide(path: Path) -> None:
    names = [f"c{n}" for n in range(10_000)]
    column = pa.array(np.random.default_rng(0).random(8000, np.float32))
    pq.write_table(pa.Table.from_arrays([column] * len(names), names=names), path)


def save_one_group(path: Path) -> None:
    flat = pa.array(np.random.default_rng(0).random(80_000_000, np.float32))
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, 400)})
    pq.write_table(table, path, row_group_size=len(table))


def save_tall_chunks(path: Path) -> None:
    with h5py.File(path, "w") as file:
        shape, chunks = (100_000, 800), (100_000, 8)
        found = file.create_dataset("x", shape, "f4", chunks=chunks, compression="lzf")
        for left in range(0, 800, 80):
            found[:, left : left + 80] = np.random.default_rng(left).random((100_000, 80))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "save", "key"),
    [
        ("wide.parquet", save_wide, ""),
        ("group.parquet", save_one_group, "x"),
        ("tall.h5", save_tall_chunks, "x"),
    ],
)
def test_a_piece_takes_little_memory(
    tmp_path: Path, name: str, save: Callable[[Path], None], key: str
) -> None:
    """320 MB in one group of rows or band of chunks take less than them, in a fresh process."""
    save(tmp_path / name)
    peak, n_bytes = measure(tmp_path / name, key)
    assert n_bytes == 320_000_000
    assert peak < n_bytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("n_columns", [1, 2])
def test_reading_a_narrow_table_takes_no_more_than_it_announces(
    tmp_path: Path, n_columns: int
) -> None:
    columns = np.random.default_rng(0).random((n_columns, 30_000_000), np.float32)
    table = pa.table({f"c{n}": column for n, column in enumerate(columns)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=len(table), use_dictionary=False)
    peak, announced = measure(tmp_path / "x.parquet", "", "at once")
    assert announced == (n_columns + 3) * columns[0].nbytes
    assert peak < announced


def measure(*given: object) -> list[int]:
    command = [sys.executable, "-c", MEASURE, *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]
