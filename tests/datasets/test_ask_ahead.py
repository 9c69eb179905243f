"""Rows of mapped files that are asked for before they are read."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.datasets.ask_ahead import ask_for
from sae_cli.datasets.rows import Shards
from tests.datasets.test_array_formats import read

PAGE = mmap.PAGESIZE
ROW_BYTES = 2048
N = 4096


class Told(mmap.mmap):
    """A mapping that notes down what it is told."""

    def madvise(self, option: int, start: int = 0, length: int | None = None) -> None:
        TOLD.append((option, start, length))
        super().madvise(option, start, len(self) if length is None else length)


TOLD: list[tuple[int, int, int | None]] = []


@pytest.fixture
def mapping(tmp_path: Path) -> Told:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(ROW_BYTES * N + 128))
    TOLD.clear()
    with path.open("rb") as file:
        return Told(file.fileno(), 0, access=mmap.ACCESS_COPY)


@pytest.mark.parametrize("offset", [0, 128])
def test_pages_of_scattered_rows_are_asked_for_and_no_others(mapping: Told, offset: int) -> None:
    values = torch.frombuffer(mapping, dtype=torch.uint8, offset=offset, count=ROW_BYTES * N)
    rows = np.array([0, 1, 2, 70, 70, 600, 601, 2000, 4095])
    ask_for(values.reshape(N, ROW_BYTES), mapping, rows)
    wanted = {
        page
        for row in rows
        for page in range((offset + row * ROW_BYTES) // PAGE,
                          (offset + (row + 1) * ROW_BYTES - 1) // PAGE + 1)
    }  # fmt: skip
    (first, *others) = TOLD
    assert first == (mmap.MADV_RANDOM, 0, None)
    assert all(option == mmap.MADV_WILLNEED and start % PAGE == 0 for option, start, _ in others)
    asked = [
        page
        for _, start, length in others
        for page in range(start // PAGE, (start + int(length or 0) - 1) // PAGE + 1)
    ]
    assert asked == sorted(wanted)


@pytest.mark.parametrize("rows", [range(100, 900), range(0, N, 5), [7]])
def test_neighbours_are_read_one_after_the_other(mapping: Told, rows: list[int]) -> None:
    values = torch.frombuffer(mapping, dtype=torch.uint8, count=ROW_BYTES * N)
    ask_for(values.reshape(N, ROW_BYTES), mapping, np.array(rows))
    assert TOLD == [(mmap.MADV_NORMAL, 0, None)]


@pytest.mark.parametrize("ending", ["npy", "safetensors", "pt"])
def test_a_large_array_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """From one file, too, which keeps little memory then as shards do."""
    array = np.random.default_rng(0).normal(size=(3000, 257)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    if ending == "pt":
        torch.save(torch.from_numpy(array), tmp_path / "x.pt")
    elif ending == "safetensors":
        from safetensors.numpy import save_file

        save_file({"x": array}, tmp_path / "x.safetensors")
    small = read(tmp_path / "x.npy", shuffle_seed=1)
    monkeypatch.setattr("sae_cli.datasets.stream.free_bytes", lambda device: 0)
    large = read(tmp_path / f"x.{ending}", shuffle_seed=1)
    assert isinstance(large.train.stored, Shards)
    assert small.fingerprint() == large.fingerprint()
    order = torch.randperm(len(large.train))
    batches = zip(small.train.shuffled(order, 64), large.train.shuffled(order, 64), strict=True)
    assert all(torch.equal(a, b) for a, b in batches)


MEASURE = """
import os, sys
from pathlib import Path
import torch
from sae_cli.datasets import stream
stream.free_bytes = lambda device: 0
from sae_cli.datasets.formats.array_file import open_array_file
stored = open_array_file(sys.argv[1], "dataset.path").stored(None)
def bytes_read():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])
with open(sys.argv[1], "rb") as file:
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
before = bytes_read()
taken = stored.take_rows(torch.arange(0, len(stored), 512))
print(bytes_read() - before, float(taken.double().sum()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rows_far_apart_are_read_from_disk_alone(tmp_path: Path) -> None:
    """Of 64 MB, 64 rows of 2 KB: 2 pages each, and no more than a few that hold neither."""
    array = np.random.default_rng(0).normal(size=(32_768, 512)).astype(np.float32)
    np.save(tmp_path / "x.npy", array)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "x.npy")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    n_bytes, total = done.stdout.split()
    assert int(n_bytes) <= 64 * 4 * PAGE
    assert float(total) == array[::512].astype(np.float64).sum()
