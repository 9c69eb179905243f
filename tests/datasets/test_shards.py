"""Arrays whose rows lie in several files: order, values, faults, and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from sae_cli.assembly.data import locate
from sae_cli.datasets import Split
from sae_cli.datasets.rows import Part, Shards, slice_rows, take_rows
from sae_cli.runs.train import train
from tests.conftest import Command, Configure
from tests.datasets.test_array_formats import SAVERS, X, expect, read, save_hdf5, values

RESULTS = ("metrics.jsonl", "model.safetensors")
BORDERS = (0, 7, 8, 30, 50)


def save_shards(folder: Path, array: np.ndarray = X, ending: str = "npy") -> Path:
    """Shards of several sizes, whose natural order is not that of their letters."""
    folder.mkdir(exist_ok=True)
    for number, (start, end) in enumerate(pairwise(BORDERS)):
        path, piece = folder / f"shard-{7 + number}.{ending}", array[start:end]
        if ending == "npy":
            np.save(path, piece)
        elif ending == "npz":
            np.savez(path, x=piece, y=np.arange(start, end) % 3)
        elif ending == "safetensors":
            safetensors.torch.save_file({"x": torch.from_numpy(piece.copy())}, path)
        elif ending == "pt":
            torch.save(torch.from_numpy(piece.copy()), path)
        else:
            np.savetxt(path, piece, delimiter=",", fmt="%.9g")
    return folder


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors", "pt", "csv"])
def test_rows_follow_each_other_in_natural_order(tmp_path: Path, ending: str) -> None:
    folder = save_shards(tmp_path / "acts", ending=ending)
    (folder / "notes.json").write_text("{}")
    (folder / f".hidden.{ending}").write_text("")
    labels = {"labels": "y", "key": "x"} if ending == "npz" else {}
    for path in (folder, folder / f"shard-*.{ending}", tmp_path / "**" / f"s*.{ending}"):
        data = read(path, **labels)
        np.testing.assert_array_equal(values(data), X)
        assert f"4 of .{ending}, " in data.source
        assert f" MB): float{64 if ending == 'csv' else 32} (50, 6), range [" in data.source
        if labels:
            assert data.train.labels is not None
            assert data.train.labels.tolist() == [n % 3 for n in range(50)]


@pytest.mark.parametrize("dtype", ["float16", "float64", "bool", "uint16", "uint64", "int8"])
def test_shards_are_one_array(tmp_path: Path, dtype: str) -> None:
    """In every order, streamed or not, and with the same fingerprint."""
    array = (X * 10).clip(0, 100).astype(dtype)
    whole = tmp_path / "whole.npy"
    np.save(whole, array)
    folder = save_shards(tmp_path / "acts", array)
    one, many = read(whole, shuffle_seed=3), read(folder, shuffle_seed=3)
    assert one.fingerprint() == many.fingerprint()
    assert one.interval == many.interval
    order = torch.randperm(len(one.train), generator=torch.Generator().manual_seed(0))
    for a, b in zip(one.train.shuffled(order, 8), many.train.shuffled(order, 8), strict=True):
        assert torch.equal(a, b)
    moved = many.to(torch.device("cpu"))
    assert moved.train.stored is moved.val.stored


def test_rows_of_shards_are_those_of_one_tensor() -> None:
    tensor = torch.arange(60).reshape(20, 3)
    shards = Shards([Part(piece, "") for piece in torch.split_with_sizes(tensor, [1, 0, 9, 10])])
    assert (len(shards), shards.nbytes, shards.shape) == (20, 480, (20, 3))
    for rows in ([], [19], [0, 0, 19, 3, 10, 9, 0], list(range(20))):
        chosen = torch.tensor(rows, dtype=torch.int64)
        assert torch.equal(take_rows(shards, chosen), tensor[chosen])
    assert torch.equal(slice_rows(shards, 8, 90), tensor[8:])


def test_a_training_on_shards_is_that_on_one_file(configure: Configure, tmp_path: Path) -> None:
    """To the bit, weights and metrics."""
    np.save(tmp_path / "whole.npy", X)
    save_shards(tmp_path / "acts")
    results = []
    for name in ("whole.npy", "acts"):
        given = ("dataset=array", f"dataset.path={tmp_path / name}", "batch_size=8", "epochs=2")
        run = tmp_path / f"run of {name}"
        train(configure(*given, "pictures=false", "progress=false"), run, [])
        results.append(
            [(run / file).read_bytes() for file in ("metrics.jsonl", "model.safetensors")]
        )
    assert results[0] == results[1]


def test_a_pattern_on_the_command_line(tmp_path: Path, command: Command) -> None:
    save_shards(tmp_path / "acts")
    done = command(
        "dataset=array", "dataset.path=acts/shard-*.npy", "batch_size=8", "epochs=1",
        "pictures=false", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"path: {tmp_path}/acts/shard-*.npy" in (tmp_path / "run" / "config.yaml").read_text()


def save(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "shard-9.npy", change(X[8:30]))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (save(lambda x: x[:, :5]), "shard-9.npy is float32 (22, 5), and"),
        (save(lambda x: x.astype("f8")), "shard-9.npy is float64 (22, 6), and"),
        (save(lambda x: x.reshape(22, 2, 3)), "shard-9.npy is float32 (22, 2, 3), and"),
        (save(lambda x: x * np.nan), "row 8 (the first is 0) holds nan"),
        (lambda folder: (folder / "shard-8.npy").write_bytes(b""), "shard-8.npy cannot be read ("),
        (
            lambda folder: (folder / "x.csv").write_text("1"),
            "files of several endings (.csv, .npy)",
        ),
        (lambda folder: [f.unlink() for f in folder.iterdir()], "no files to train on; give"),
    ],
)
def test_shards_that_do_not_fit(tmp_path: Path, fault: Callable[[Path], object], says: str) -> None:
    folder = save_shards(tmp_path / "acts")
    fault(folder)
    expect(folder, says)


def test_shards_of_other_arrays(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "acts", ending="npz")
    np.savez(folder / "shard-8.npz", other=X)
    expect(folder, "shard-8.npz has no array x, and", key="x", labels="y")


def test_a_pattern_that_finds_nothing(tmp_path: Path) -> None:
    expect(tmp_path / "a*.npy", "no files to train on; give a folder or a pattern of files")


def test_a_file_that_is_named_like_a_pattern(tmp_path: Path) -> None:
    np.save(tmp_path / "x[1].npy", X)
    np.testing.assert_array_equal(values(read(tmp_path / "x[1].npy")), X)


def test_shards_without_rows_are_left_out(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "acts", ending="safetensors")
    empty = {"x": torch.empty((0, 6), dtype=torch.int8)}
    safetensors.torch.save_file(empty, folder / "shard-8.safetensors")
    np.testing.assert_array_equal(values(read(folder)), np.delete(X, 7, 0))


@pytest.mark.parametrize("options", [{}, {"chunks": (8, 6), "maxshape": (None, 6)}], ids=str)
def test_shards_of_hdf5_without_rows_are_left_out(options: dict[str, Any], tmp_path: Path) -> None:
    """One in chunks may be there to be appended to."""
    for number, piece in enumerate((X[:20], X[:0], X[20:])):
        save_hdf5(tmp_path / f"{number}.h5", piece, **options)
    np.testing.assert_array_equal(values(read(tmp_path)), X)


def test_shards_that_would_not_fit_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted together before any is read."""
    for number in range(4):
        SAVERS["hdf5"][1](tmp_path / f"{number}.h5")
    monkeypatch.setattr("sae_cli.datasets.formats.unpacked.free_memory", lambda: 2 * X.nbytes)
    monkeypatch.setattr("sae_cli.datasets.formats.unnamed_file.cache_folder", lambda: None)
    expect(tmp_path, " unpacks to 0.0 MB, and 0.0 MB of memory are free; this user has no folder")
    read(tmp_path / "0.h5")


MEASURE = """
import resource, sys
from pathlib import Path
from typing import Any
import torch
from tests.datasets.test_array_formats import read
data = read(Path(sys.argv[1]), shuffle_seed=0)
before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
peak = 0
for split in (data.train, data.val, data.test):
    for batch in split.shuffled(torch.randperm(len(split)), 512):
        now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        peak = max(peak, now)
data.fingerprint()
now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
print(max(peak, now) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_folder_larger_than_what_stays_in_memory(tmp_path: Path) -> None:
    """1.5 GB in 24 shards, read in a random order and in theirs, keep less than 900 MB."""
    rng = np.random.default_rng(0)
    shard = rng.normal(size=(16_000, 1000)).astype(np.float32)
    for number in range(24):
        np.save(tmp_path / f"{number}.npy", shard)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 900e6


def test_the_name_of_the_current_folder_is_no_pattern(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it one in the configuration, from which the run resumes elsewhere."""
    (tmp_path / "run[1]").mkdir()
    save_shards(tmp_path / "run[1]" / "acts")
    monkeypatch.chdir(tmp_path / "run[1]")
    config = locate(configure("model=ae", "dataset=array", "dataset.path=acts/*.npy"))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(values(read(Path(config.parts["dataset"]["path"]))), X)


def test_large_examples_are_read_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example of 1 MB or more is a chunk of its own, and 64 MB are read at once."""
    shards = Shards([Part(torch.zeros(20, 1 << 22), "x")])
    asked: list[int] = []

    def take(self: Shards, rows: torch.Tensor) -> torch.Tensor:
        asked.append(len(rows))
        return torch.zeros(len(rows), 1)

    monkeypatch.setattr(Shards, "take_rows", take)
    for _ in Split(shards, torch.arange(20)).chunks():
        pass
    assert asked == [4] * 5
