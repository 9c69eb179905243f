"""Room for what is unpacked: what is asked for, what is refused, and what is left."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_cli.core.errors import ConfigError, MachineError, SaeError
from sae_cli.datasets.formats import unnamed_file, unpacked
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.mapped import mapped_files
from tests.datasets.formats.packed_forms import (
    FORMS,
    bits,
    no_memory,
    on_disk,
    save_shards,
)
from tests.datasets.test_array_formats import X, expect, read, save_hdf5, save_table


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
    assert f"the disk of {cache} has room for 0.0 MB, and it takes 0.0 MB meanwhile; give" in says
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
        expect(path, "what is over 1032 times as large as its file is not unpacked to disk; save")


@pytest.mark.parametrize("form", ["one group", "a chunk of all rows", "chunks along a later axis"])
def test_what_is_read_at_once_fits_in_memory(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("x.parquet" if form == "one group" else "x.h5")
    if form == "one group":
        table = pa.table({"a": np.arange(9_000.0), "b": np.arange(9_000.0)})
        pq.write_table(table, path, row_group_size=9_000)
    elif form == "a chunk of all rows":
        save_hdf5(path, np.arange(18_000.0).reshape(9_000, 2), chunks=(9_000, 1))
    else:
        save_hdf5(path, np.arange(16_200.0).reshape(900, 2, 9), chunks=(900, 2, 1))
    monkeypatch.setattr(unpacked, "SMALL_STEP", 0)
    options = {"axes": "features"} if "axis" in form else {}
    with on_disk():
        assert open_array_file(str(path), "")
        no_memory(monkeypatch, 1 << 18)
        assert read(path, **options).files
        no_memory(monkeypatch, 1 << 13)
        expect(path, "a piece of it takes 0.", **options)


@pytest.mark.parametrize("form", ["one column", "two columns", "one chunk"])
def test_what_reading_takes_besides_the_array(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column is there three times as it is read, and a chunk once beside where it goes."""
    column = np.arange(9_000.0)
    if form == "one chunk":
        path, n_bytes, beside = tmp_path / "x.h5", 2 * column.nbytes, 2 * column.nbytes
        save_hdf5(path, column.repeat(2).reshape(-1, 2), chunks=(9_000, 2))
    else:
        names = ["a", "b"][: 1 + (form == "two columns")]
        path, n_bytes, beside = (
            tmp_path / "x.parquet",
            len(names) * column.nbytes,
            3 * column.nbytes,
        )
        pq.write_table(pa.table(dict.fromkeys(names, column)), path, row_group_size=9_000)
    monkeypatch.setattr(unpacked, "SMALL_STEP", 0)
    monkeypatch.setattr(unnamed_file, "cache_folder", lambda: None)
    with on_disk():
        no_memory(monkeypatch, n_bytes + beside)
        assert not read(path).files
        no_memory(monkeypatch, n_bytes + beside - 1)
        expect(path, f" and takes {(n_bytes + beside) / 1e6:.1f} MB of memory meanwhile, and ")


def test_what_was_written_cannot_be_read_back(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w+b", buffering=0) as file:
        file.write(b"123")
        assert unnamed_file.read_back(file, 1, 2, "x") == b"23"
        with pytest.raises(MachineError, match=r"read back from .* \(less is there than was wri"):
            unnamed_file.read_back(file, 1, 3, "x")


def test_a_file_that_keeps_a_hidden_name_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where a file that is open is renamed in place of removed."""
    save_hdf5(tmp_path / "x.h5")

    def hidden(dir: Path, buffering: int) -> BinaryIO:
        return os.fdopen(tempfile.mkstemp(dir=dir)[0], "w+b", buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", hidden)
    with on_disk():
        data = read(tmp_path / "x.h5")
    (file,) = data.files
    assert file.look() == file.first


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
    cache.parent.mkdir()
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
