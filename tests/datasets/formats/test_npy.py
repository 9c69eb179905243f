"""Sizes that .npy and .npz files announce are checked before memory is taken."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats import parts
from sae_cli.datasets.formats.array_file import open_array_file

X = np.arange(12.0).reshape(3, 4)


def member(array: np.ndarray = X) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def load(path: Path, key: str | None) -> np.ndarray:
    return open_array_file(str(path), "dataset.path").load(key).numpy()


def refused(path: Path, key: str | None, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load(path, key)
    assert str(path) in str(caught.value)


def test_what_numpy_saves_is_read(tmp_path: Path) -> None:
    order = np.asfortranarray(X)
    np.savez(tmp_path / "plain.npz", x=X, order=order)
    np.savez_compressed(tmp_path / "packed.npz", x=np.zeros((1000, 1000)))
    np.testing.assert_array_equal(load(tmp_path / "plain.npz", "x"), X)
    np.testing.assert_array_equal(load(tmp_path / "plain.npz", "order"), X)
    assert load(tmp_path / "packed.npz", "x").shape == (1000, 1000)


def test_members_that_announce_what_they_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    huge = member().replace(b"(3, 4), }         ", b"(3, 4000000000), }")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member(), zipfile.ZIP_DEFLATED)
        archive.writestr("bzip2.npy", member(), zipfile.ZIP_BZIP2)
        archive.writestr("huge.npy", huge, zipfile.ZIP_DEFLATED)
        archive.writestr("header.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + b" " * 99)
        archive.writestr("no_array", b"text")
    assert open_array_file(str(path), "").keys == ["x", "bzip2", "huge", "header"]
    refused(path, "bzip2", "packed in a way that NumPy does not use")
    refused(path, "huge", "announces 96000000000 bytes, 95999999904 more than follow")
    refused(path, "header", "its header has 2147483648 bytes, more than 10000")
    with monkeypatch.context() as patch:
        patch.setattr(parts, "free_memory", lambda: 90.0)
        refused(path, "x", "takes 0.0 MB of memory, and 0.0 MB are free")
    # At this place the directory holds the unpacked size of the first member.
    content = path.read_bytes()
    at = content.index(b"PK\1\2") + 24
    path.write_bytes(content[:at] + struct.pack("<I", 2**30) + content[at + 4 :])
    refused(path, "x", "announces 1073741824 bytes, more than it can hold")


@pytest.mark.parametrize("shape", ["(4294967296, 4294967296)", "(-1, 4)", "(0, 2**62)", "(1,)*80"])
def test_shapes_that_no_array_has(tmp_path: Path, shape: str) -> None:
    sizes = repr(eval(shape))
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {sizes}}}\n".encode()
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    refused(path, None, "cannot be read")
