"""NumPy's .npy and .npz, never unpickled, and with sizes checked before memory is taken.

NumPy itself takes whatever memory a header asks for, and whatever the few bytes of an archive
unpack to.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sae_cli.datasets.formats.mapped import map_array
from sae_cli.datasets.formats.parts import check_memory

# A byte of a deflate stream gives at most this many bytes.
DEFLATE_MAX_RATIO = 1032
MAX_HEADER = 10_000
ENCRYPTED = 0x1
# np.savez and np.savez_compressed pack in these ways; a packed byte gives at most so many.
MAX_RATIOS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE_MAX_RATIO}
# Version 3 is left out: it is for structured arrays, which are not numbers.
HEADERS = {(1, 0): (2, npy.read_array_header_1_0), (2, 0): (4, npy.read_array_header_2_0)}


class Header(NamedTuple):
    """What a .npy file announces: the size of its header, and its array.

    Attributes:
        by_columns: whether the first axis varies fastest (Fortran's order).
    """

    header_bytes: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @property
    def array_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def map_npy(path: Path) -> NDArray[Any]:
    """Map the array of a .npy file, read-only.

    Raises:
        ValueError, SyntaxError, TypeError, OSError: damaged, of another length, or Python objects.
    """
    with path.open("rb") as file:
        header = _header(file)
        _check_length(header, os.fstat(file.fileno()).st_size)
        order: Literal["C", "F"] = "F" if header.by_columns else "C"
        return map_array(path, file, header.dtype, header.shape, header.header_bytes, order)


def npz_keys(path: Path) -> list[str]:
    """List the names of the arrays in a .npz file.

    Raises:
        ValueError, OSError, zipfile.BadZipFile: it is not such an archive.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not a zip archive")
    # The file is opened here, because zipfile leaves a damaged one open.
    with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
        names = dict.fromkeys(archive.namelist())
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def read_npz(path: Path, key: str) -> NDArray[Any]:
    """Read one array of a .npz file.

    Raises:
        ConfigError: it is more than this machine's memory.
        ValueError, SyntaxError, TypeError, OSError, zipfile.BadZipFile, zlib.error: damaged,
            packed in another way, of another length, or Python objects.
    """
    check_memory(npz_header(path, key).array_bytes, f"{path}[{key}]")
    with _member(path, key) as unpacked:
        array: NDArray[Any] = npy.read_array(unpacked, allow_pickle=False)
        return array


def npz_header(path: Path, key: str) -> Header:
    """Read what an array of a .npz file announces, which is not more than it can hold.

    Raises: as ``read_npz``.
    """
    with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
        member = archive.getinfo(f"{key}.npy")
        ratio = MAX_RATIOS.get(member.compress_type)
        if ratio is None or member.flag_bits & ENCRYPTED:
            raise ValueError(f"{key} is encrypted or packed in a way that NumPy does not use")
        if member.file_size > member.compress_size * ratio:
            raise ValueError(f"{key} announces {member.file_size} bytes, more than it can hold")
        with archive.open(member) as unpacked:
            header = _header(cast(BinaryIO, unpacked))
        _check_length(header, member.file_size)
        return header


def npz_pieces(path: Path, key: str, n_bytes: int) -> Iterator[NDArray[np.uint8]]:
    """Read the bytes of an array of a .npz file, so many at a time.

    Raises: as ``read_npz``.
    """
    with _member(path, key) as unpacked:
        left = _header(cast(BinaryIO, unpacked)).array_bytes
        while left:
            read = np.frombuffer(unpacked.read(min(n_bytes, left)), np.uint8)
            if not read.size:
                raise ValueError(f"EOF: reading array data, expected {left} bytes got 0")
            yield read
            left -= read.size


@contextlib.contextmanager
def _member(path: Path, key: str) -> Iterator[IO[bytes]]:
    # The file is opened here, because zipfile leaves a damaged one open.
    with (
        path.open("rb") as opened,
        zipfile.ZipFile(opened) as archive,
        archive.open(f"{key}.npy") as unpacked,
    ):
        yield unpacked


def _header(file: BinaryIO) -> Header:
    """Read to the end of the header."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it has version {version} of the format; 1.0 and 2.0 hold numbers")
    size, parse = HEADERS[version]
    start = file.read(size)
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header has {length} bytes, more than {MAX_HEADER}")
    try:
        shape, by_columns, dtype = parse(io.BytesIO(start + file.read(length)))
    except (RecursionError, MemoryError):
        # Python's own parser raises these where brackets or signs pile up.
        raise ValueError("its header describes no array") from None
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    # A 0 counts as 1, because NumPy's product in 64 bits may overflow before it meets the 0.
    if min(shape, default=0) < 0 or math.prod(max(1, n) for n in shape) * dtype.itemsize >= 2**62:
        raise ValueError(f"its header announces the shape {shape}")
    return Header(npy.MAGIC_LEN + size + length, shape, dtype, by_columns)


def _check_length(header: Header, found: int) -> None:
    surplus = found - header.header_bytes - header.array_bytes
    if surplus > 0:
        raise ValueError(f"{surplus} bytes too many after its array")
    if surplus < 0:
        raise ValueError(
            f"its header announces {header.array_bytes} bytes, {-surplus} more than follow"
        )
