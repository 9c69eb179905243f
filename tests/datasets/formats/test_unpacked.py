"""Packed arrays that are unpacked to disk: the same values and errors as in memory, and no more."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Never

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sae_cli.core.errors import ConfigError, MachineError, SaeError
from sae_cli.datasets import Dataset
from sae_cli.datasets.formats import packed, unnamed_file, unpacked
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.mapped import mapped_files
from sae_cli.datasets.rows import Shards, take_rows, tensors_of
from sae_cli.datasets.shards import open_arrays
from sae_cli.runs.train import train
from tests.conftest import Configure
from tests.datasets.test_array_formats import X, expect, read, save_hdf5, save_lists, save_table

Save = Callable[[Path, np.ndarray], object]
BORDERS = (0, 7, 8, 30, 50)
ROW_BYTES = 24


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAE_CACHE", str(folder))
    return folder


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


@pytest.mark.parametrize("n_files", [1, 4])
@pytest.mark.parametrize("piece_rows", [1, 7, 1000])
@pytest.mark.parametrize("form", FORMS)
def test_the_same_values_as_in_memory(
    tmp_path: Path, cache: Path, form: str, piece_rows: int, n_files: int
) -> None:
    ending, save = FORMS[form]
    path = tmp_path / f"x.{ending}"
    if n_files == 1:
        save(path, X)
    else:
        path = save_shards(tmp_path / "acts", form)
    options = {"axes": "features"} if form == "lists of lists" else {}
    in_memory = read(path, shuffle_seed=0, **options)
    with on_disk(piece_rows * ROW_BYTES):
        data = read(path, shuffle_seed=0, **options)
    stored, before = data.train.stored, in_memory.train.stored
    assert not in_memory.files
    assert (stored.shape, stored.dtype) == (before.shape, before.dtype)
    assert bits(data) == bits(in_memory)
    assert data.fingerprint() == in_memory.fingerprint()
    assert (data.source, data.interval) == (in_memory.source, in_memory.interval)
    # One file takes all, whatever the number of shards, and nobody finds it.
    assert isinstance(stored, Shards)
    assert len(stored.parts) == n_files
    assert len({id(part.mapping) for part in stored.parts}) == 1
    assert stored.parts[0].mapping is not None
    (file,) = data.files
    assert file.look() == file.first
    assert not [*cache.iterdir()]


def fill(array: np.ndarray, row: int, value: float) -> np.ndarray:
    changed = array.copy()
    changed[row, 2] = value
    return changed


def save_not_finite(form: str) -> Callable[[Path], object]:
    return lambda path: FORMS[form][1](path, fill(X, 45, np.nan))


def save_missing(path: Path) -> None:
    column = [None if n in (33, 37) else float(n) for n in range(50)]
    pq.write_table(pa.table({"a": X[:, 0], "b": column, "c": column}), path, row_group_size=40)


def save_ragged(path: Path, row: int = 33) -> None:
    rows = X.tolist()
    rows[row] = rows[row][:4]
    save_lists(path, pa.array(rows))


def save_text_of(row: int, text: str, *, names: bool = False) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        lines = [",".join(map(str, row)) for row in X.tolist()]
        lines[row] = text
        path.write_text("\n".join(["a,b,c,d,e,f"] * names + lines))

    return save


def cut(form: str, share: float) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        FORMS[form][1](path, X)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return save


def spoil(form: str) -> Callable[[Path], object]:
    """Change bytes in the middle of what is packed."""

    def save(path: Path) -> None:
        FORMS[form][1](path, np.random.default_rng(1).normal(size=(500, 6)))
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 40] = bytes(40)
        path.write_bytes(bytes(content))

    return save


def save_shards_of(*arrays: np.ndarray, form: str) -> Callable[[Path], object]:
    def save(path: Path) -> None:
        path.mkdir()
        ending, save = FORMS[form]
        for number, array in enumerate(arrays):
            save(path / f"{number}.{ending}", array)

    return save


FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    **{
        f"nan in {form}": (
            FORMS[form][0],
            save_not_finite(form),
            "row 45 (the first is 0) holds nan",
        )
        for form in ("deflated", "by columns", "chunks", "tall chunks", "table", "lists", "csv")
    },
    **{
        f"nan in a shard of {form}": (
            "",
            save_shards_of(X[:20], X[20:30], fill(X[30:], 5, np.inf), form=form),
            "row 35 (the first is 0) holds inf",
        )
        for form in ("deflated", "chunks", "table", "lists", "csv")
    },
    **{
        f"another width in {form}": (
            "",
            save_shards_of(X[:20], X[20:, :5], form=form),
            " (30, 5), and ",
        )
        for form in ("deflated", "chunks", "table", "lists", "csv")
    },
    **{
        f"another type in {form}": (
            "",
            save_shards_of(X[:20], X[20:].astype("f8"), form=form),
            " is float64 (30, 6), and ",
        )
        for form in ("deflated", "chunks", "table")
    },
    **{
        f"no rows in {form}": ("", save_shards_of(X[:0], X[:0], form=form), "(0, 6); at least 3")
        for form in ("deflated", "hdf5", "table")
    },
    "no rows in lists": ("", save_shards_of(X[:0], X[:0], form="fixed lists"), "); at least 3"),
    "missing": ("parquet", save_missing, "x.parquet[b]: 2 values are missing; remove or fill"),
    "ragged": ("parquet", save_ragged, ""),
    "ragged in a piece": ("parquet", lambda path: save_ragged(path, 39), ""),
    "cell": ("csv", save_text_of(40, "1,2,a,4,5,6"), "row 41, column 3 (the first is 1) holds 'a'"),
    "cell below names": (
        "csv",
        save_text_of(0, "1,2,a,4,5,6", names=True),
        "row 1 below the names, column 3",
    ),
    "width": ("csv", save_text_of(40, "1,2,3"), "row 41 (the first is 1) has 3 columns, and those"),
    "encoding": ("csv", lambda path: path.write_bytes(b"1,2\n" * 50 + b"\xff,1\n"), "cannot be"),
    "objects": ("npz", lambda path: np.savez(path, x=np.array([{}] * 9)), "Python objects"),
    "other bytes": ("npz", lambda path: np.savez(path, x=X.astype(">f4")), "byte order of other"),
    "dates": ("npz", lambda path: np.savez(path, x=np.full((9, 2), "2020", "M8[D]")), "is of date"),
    "texts": ("npz", lambda path: np.savez(path, x=np.full((9, 2), "a")), "is of <U1; convert"),
    "complex": ("npz", lambda path: np.savez(path, x=X.astype("c8")), "is of complex64; convert"),
    "scalar": ("npz", lambda path: np.savez(path, x=np.float32(1)), "the shape ()"),
    "blank": ("csv", lambda path: path.write_text("\n" * 99), "at least 3 examples"),
    "names only": ("csv", lambda path: path.write_text("a,b\n"), "at least 3 examples"),
    **{
        f"{form} cut at {share}": (FORMS[form][0], cut(form, share), "")
        for form in ("deflated", "tall chunks", "table", "lists")
        for share in (0.0, 0.3, 0.6, 0.95)
    },
    **{
        f"{form} spoilt": (FORMS[form][0], spoil(form), "")
        for form in ("npz", "deflated", "tall chunks")
    },
}


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_errors_as_in_memory(tmp_path: Path, cache: Path, fault: str) -> None:
    ending, save, says = FAULTS[fault]
    path = tmp_path / (f"x.{ending}" if ending else "acts")
    save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PIECE_BYTES", 41 * ROW_BYTES)
        in_memory = error_of(path)
    with on_disk(41 * ROW_BYTES):
        assert error_of(path) == in_memory
    with on_disk():
        tiny = error_of(path)
    assert says in in_memory
    if "ragged" not in fault:
        assert tiny == in_memory
    assert not cache.exists() or not [*cache.iterdir()]


def test_lists_of_other_lengths_are_counted_over_all_groups(tmp_path: Path) -> None:
    save_ragged(tmp_path / "x.parquet", 33)
    expect(tmp_path / "x.parquet", "the list in place 33 (the first is 0) has 4 values")
    with on_disk(4 * ROW_BYTES):
        expect(tmp_path / "x.parquet", "the list in place 33 (the first is 0) has 4 values")


@pytest.mark.parametrize("disk", [False, True])
def test_columns_of_one_name(tmp_path: Path, disk: bool) -> None:
    """Columns of text are told apart by their places, and those of other formats are refused."""
    columns = [pa.array(X[:, n]) for n in range(3)]
    table = pa.Table.from_arrays(columns, names=["a", "b", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    lists = pa.array(X.tolist())
    several = pa.Table.from_arrays(
        [lists, lists, columns[0], columns[1]], names=["x", "x", "a", "a"]
    )
    pq.write_table(several, tmp_path / "lists.parquet")
    with (
        pa.OSFile(str(tmp_path / "x.arrow"), "w") as file,
        pa.ipc.new_file(file, table.schema) as w,
    ):
        w.write_table(table)
    one = pa.Table.from_arrays([lists, columns[0], columns[1]], names=["x", "a", "a"])
    pq.write_table(one, tmp_path / "one.parquet")
    save_text(tmp_path / "x.csv", X, names=True)
    with on_disk() if disk else pytest.MonkeyPatch.context():
        expect(tmp_path / "x.parquet", "2 columns have the name 'a'; give each a name of its own")
        expect(tmp_path / "lists.parquet", "2 columns have the name 'x'; give each", key="x")
        expect(tmp_path / "x.arrow", "2 columns have the name 'a'; give each a name", key="a")
        for name in ("one.parquet", "x.csv"):
            data = read(tmp_path / name)
            assert torch.equal(data.train.values(data.train.rows), torch.from_numpy(X[:35]))


def test_what_fits_neither_disk_nor_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All shards are counted together, before anything is written."""
    folder = save_shards(tmp_path / "acts", "fixed lists")
    usage = os.statvfs(tmp_path)
    room = unnamed_file.LEFT_FREE + X.nbytes - 1
    free = os.statvfs_result((*usage[:1], 1, *usage[2:3], room, room, *usage[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    no_memory(monkeypatch, X.nbytes - 1)
    with pytest.raises(ConfigError) as caught:
        read(folder)
    says = str(caught.value)
    assert says.startswith(
        f"{folder}[x] unpacks to 0.0 MB, and 0.0 MB of memory are free; the disk"
    )
    assert f"the disk of {cache} has room for 0.0 MB; give SAE_CACHE a folder on a disk" in says
    # The memory takes what the disk does not.
    no_memory(monkeypatch, X.nbytes)
    with on_disk():
        assert not read(folder).files


def test_a_small_file_does_not_fill_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.parquet"
    column = pa.array(np.zeros(4_000_000, np.float32))
    pq.write_table(pa.table({"a": column}), path)
    assert path.stat().st_size * 1032 < column.nbytes
    with on_disk():
        assert open_array_file(str(path), "").read(None)
        no_memory(monkeypatch, 1 << 20)
        expect(path, "what is over 1032 times as large as its file is not unpacked to disk")


def test_no_more_is_written_than_was_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FORMS["lists"][1](tmp_path / "x.parquet", X)
    from sae_cli.datasets.formats import parquet

    monkeypatch.setattr(parquet, "_count", lambda group, name: group.num_rows)
    with on_disk():
        expect(tmp_path / "x.parquet", "unpacks to more than the 0.0 MB that it announces")


def refuse(number: int) -> Callable[..., Never]:
    def fail(*given: object, **options: object) -> Never:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_takes_no_file(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_hdf5(tmp_path / "x.h5")
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse(number))
    with on_disk():
        assert not read(tmp_path / "x.h5").files
        no_memory(monkeypatch)
        with pytest.raises(SaeError, match=os.strerror(number)) as caught:
            read(tmp_path / "x.h5")
    assert caught.value.exit_code == (4 if number == errno.ENOSPC else 2)


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("")
    save_hdf5(tmp_path / "x.h5")
    with on_disk():
        assert not read(tmp_path / "x.h5").files
        monkeypatch.setenv("SAE_CACHE", str(cache / "inside"))
        assert not read(tmp_path / "x.h5").files
        no_memory(monkeypatch)
        expect(tmp_path / "x.h5", f"{cache}/inside cannot be written to (")


def test_a_user_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unnamed_file, "cache_folder", lambda: None)
    save_hdf5(tmp_path / "x.h5")
    with on_disk():
        assert not read(tmp_path / "x.h5").files
        no_memory(monkeypatch)
        expect(tmp_path / "x.h5", "this user has no folder for a cache")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_has_less_room_than_it_says(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is set aside before the first piece."""
    save_hdf5(tmp_path / "x.h5")
    monkeypatch.setattr(os, "posix_fallocate", refuse(number))
    with on_disk():
        assert not read(tmp_path / "x.h5").files
        no_memory(monkeypatch)
        with pytest.raises(MachineError, match=os.strerror(number)):
            read(tmp_path / "x.h5")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("form", ["chunks", "tall chunks", "table", "csv"])
def test_a_disk_that_is_full_in_the_end(
    tmp_path: Path, form: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network file systems may say so only when all is written."""
    ending, save = FORMS[form]
    save(tmp_path / f"x.{ending}", X)
    monkeypatch.setattr(os, "fsync", refuse(number))
    with on_disk(), pytest.raises(MachineError) as caught:
        read(tmp_path / f"x.{ending}")
    assert f"({os.strerror(number)}); give SAE_CACHE a folder on a disk with" in str(caught.value)


def test_a_file_system_that_sets_no_room_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_hdf5(tmp_path / "x.h5")
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EOPNOTSUPP))
    with on_disk():
        assert read(tmp_path / "x.h5").files


def test_unpacked_shards_take_two_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acts").mkdir()
    for number in range(9):
        save_table(tmp_path / "acts" / f"{number}.parquet")
    monkeypatch.setattr("sae_cli.datasets.shards._allow", None)
    before = len(os.listdir("/dev/fd"))
    with on_disk():
        data = read(tmp_path / "acts")
    assert len(os.listdir("/dev/fd")) == before + 2
    del data
    assert len(os.listdir("/dev/fd")) == before


def test_shards_and_groups_without_rows(tmp_path: Path) -> None:
    folder = tmp_path / "acts"
    folder.mkdir()
    schema = pa.table({"x": pa.array(X.tolist())}).schema
    for number, borders in enumerate([(0, 20), (20, 20), (20, 50)]):
        with pq.ParquetWriter(folder / f"{number}.parquet", schema) as writer:
            for start, end in (borders, (0, 0)):
                column = pa.array(X[start:end].tolist(), schema.field("x").type)
                writer.write_table(pa.table({"x": column}))
    with on_disk():
        data = read(folder)
    assert bits(data) == bits(read(folder))
    assert len(tensors_of(data.train.stored)) == 2


@pytest.mark.parametrize(
    "form", ["deflated", "by columns", "hdf5", "chunks", "table", "fixed lists", "csv"]
)
def test_a_shard_without_rows_is_left_out(tmp_path: Path, form: str) -> None:
    save_shards_of(X[:20], X[:0], X[20:], form=form)(tmp_path / "acts")
    with on_disk():
        data = read(tmp_path / "acts")
    assert bits(data) == bits(read(tmp_path / "acts"))
    assert len(data.train.stored) == 50


def test_labels_beside_packed_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(50) % 3)
    with on_disk():
        data = read(tmp_path / "x.npz", key="x", labels="y")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [n % 3 for n in range(50)]


def test_the_file_ends_with_its_values(tmp_path: Path) -> None:
    save_hdf5(tmp_path / "x.h5")
    before = len(mapped_files())
    with on_disk():
        data = read(tmp_path / "x.h5")
    assert len(mapped_files()) == before + 1
    shutil.rmtree(os.environ["SAE_CACHE"])
    assert bits(data) == X.tobytes()
    del data
    assert len(mapped_files()) == before


def test_what_a_look_at_the_file_tells(tmp_path: Path, cache: Path) -> None:
    """Nobody else writes to it, whatever its times are; its disk may fail."""
    save_hdf5(tmp_path / "x.h5")
    with on_disk():
        data = read(tmp_path / "x.h5")
    (file,) = data.files
    os.utime(file._descriptor, (1, 1))
    assert file.look() == file.first
    assert file.replace_()
    with pytest.raises(MachineError, match="could not be read") as caught:
        file.look()
    assert str(cache) in str(caught.value)


def test_a_training_on_unpacked_rows_is_that_in_memory(
    configure: Configure, tmp_path: Path
) -> None:
    """To the bit, weights and metrics."""
    folder = save_shards(tmp_path / "acts", "table")
    given = ("dataset=array", f"dataset.path={folder}", "batch_size=8", "epochs=2")
    config = configure(*given, "pictures=false", "progress=false")
    train(config, tmp_path / "in memory", [])
    with on_disk():
        train(config, tmp_path / "on disk", [])
    for name in ("metrics.jsonl", "model.safetensors"):
        first, second = (tmp_path / run / name for run in ("in memory", "on disk"))
        assert first.read_bytes() == second.read_bytes()


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
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / name), key],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak, n_bytes = map(int, done.stdout.split())
    assert n_bytes == 320_000_000
    assert peak < n_bytes


def test_open_arrays_reads_nothing_ahead(tmp_path: Path) -> None:
    """Shards are counted by what they announce."""
    folder = save_shards(tmp_path / "acts", "tall chunks")
    found = open_arrays(str(folder), "dataset.path").read("group/x")
    assert [one.n_bytes for one in found if isinstance(one, packed.Packed)] == [
        (end - start) * ROW_BYTES for start, end in pairwise(BORDERS)
    ]
    with h5py.File(folder / "0.h5") as file:
        assert file["group/x"].chunks == (7, 1)
