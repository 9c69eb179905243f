"""Packed arrays that are unpacked to disk: the same values and errors as in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from sae_cli.core.errors import ConfigError, MachineError
from sae_cli.datasets.formats import packed
from sae_cli.datasets.rows import Shards, tensors_of
from sae_cli.datasets.shards import open_arrays
from sae_cli.runs.train import train
from tests.conftest import Configure
from tests.datasets.formats.packed_forms import (
    BORDERS,
    FORMS,
    ROW_BYTES,
    bits,
    on_disk,
    save_shards,
    save_shards_of,
    save_text,
)
from tests.datasets.test_array_formats import X, expect, read, save_hdf5, save_lists


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


def save_rows(path: Path, rows: list[list[float]]) -> None:
    """Save a column of lists, in groups of 20."""
    column = pa.array(rows, pa.list_(pa.float32()))
    pq.write_table(pa.table({"x": column}), path, row_group_size=20)


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
    "empty list": (
        "parquet",
        lambda path: save_rows(path, [*X[:21].tolist(), [], *X[21:].tolist()]),
        "",
    ),
    "group of empty lists": (
        "parquet",
        lambda path: save_rows(path, [[]] * 20 + X[:30].tolist()),
        "",
    ),
    "empty lists": ("parquet", lambda path: save_rows(path, [[]] * 50), "(50, 0)"),
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
    # Whether lists of another length are met in one piece or in two depends on where it ends.
    if not fault.startswith(("ragged", "empty list", "group of")):
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


def test_open_arrays_reads_nothing_ahead(tmp_path: Path) -> None:
    """Shards are counted by what they announce."""
    folder = save_shards(tmp_path / "acts", "tall chunks")
    found = open_arrays(str(folder), "dataset.path").read("group/x")
    assert [one.n_bytes for one in found if isinstance(one, packed.Packed)] == [
        (end - start) * ROW_BYTES for start, end in pairwise(BORDERS)
    ]
    with h5py.File(folder / "0.h5") as file:
        assert file["group/x"].chunks == (7, 1)
