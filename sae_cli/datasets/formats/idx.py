"""The IDX format of MNIST and its relatives: a magic number, big-endian sizes, then the bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.cache import Decoded, load_or_decode

UINT8 = 0x08
GZIP_START = b"\x1f\x8b"
# A byte of a deflate stream gives at most this many bytes.
GZIP_MAX_RATIO = 1032
# A header is a magic number and a size for each of at most 255 dimensions.
HEADER_MAX = 4 * 256
READ_BYTES = 1 << 20


class IdxArray(NamedTuple):
    """The values of an IDX file, and the SHA-256 of the whole unpacked file."""

    values: NDArray[np.uint8]
    sha256: str


def read_idx(path: Path, shape: Sequence[int | None], hint: str) -> IdxArray:
    """Read an IDX file of uint8 values, plain or (by its name) gzipped.

    It takes no more memory than the expected sizes need, and no more than a file of this length
    can hold. An unpacked file is kept in the cache.

    Args:
        shape: the expected sizes; None allows any size there.
        hint: what to do if the sizes differ.

    Raises:
        ConfigError: the file cannot be read, is damaged, too short, too long or of another format,
            or its sizes differ.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                whole = _unpack(path, file, shape, hint)
            else:
                values = _read(path, file, shape, hint)
                whole = Decoded(values, hashlib.sha256(values.data).hexdigest())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path} is a damaged gzip file ({error}); get a fresh copy") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return IdxArray(_shaped(path, whole.values, shape, hint), whole.sha256)


def _shaped(
    path: Path, whole: NDArray[np.uint8], shape: Sequence[int | None], hint: str
) -> NDArray[np.uint8]:
    """Give the values of a whole unpacked file in the shape that its header announces."""
    header, sizes = _header(path, io.BytesIO(whole[:HEADER_MAX].data), shape, hint)
    values = whole[len(header) :]
    if len(values) != np.prod(sizes, dtype=object):
        raise ConfigError(f"{path} does not hold the values that it announces; get a fresh copy")
    return values.reshape(sizes)


def _unpack(
    path: Path, packed: io.BufferedReader, shape: Sequence[int | None], hint: str
) -> Decoded:
    def decode() -> NDArray[np.uint8]:
        packed.seek(0)
        with gzip.GzipFile(fileobj=packed) as unpacked:
            return _read(path, cast(BinaryIO, unpacked), shape, hint)

    def check(whole: NDArray[np.uint8]) -> None:
        _shaped(path, whole, shape, hint)

    return load_or_decode(hashlib.file_digest(packed, "sha256").hexdigest(), decode, check)


def _header(
    path: Path, file: BinaryIO, shape: Sequence[int | None], hint: str
) -> tuple[bytes, tuple[int, ...]]:
    """Read the bytes ahead of the values, and the sizes that they announce."""
    magic = bytes([0, 0, UINT8, len(shape)])
    start = file.read(len(magic))
    if start != magic:
        packed = start[:2] == GZIP_START
        mend = "it looks like a gzip file: name it .gz" if packed else "get a fresh copy"
        raise ConfigError(
            f"{path} is not an IDX file of {len(shape)} dimensions of uint8: it starts with "
            f"{start.hex() or 'nothing'}, expected {magic.hex()}; {mend}"
        )
    header = file.read(4 * len(shape))
    if len(header) < 4 * len(shape):
        raise ConfigError(f"{path} ends inside its header; get a fresh copy")
    sizes = struct.unpack(f">{len(shape)}I", header)
    if any(want not in (None, size) for want, size in zip(shape, sizes, strict=True)):
        wanted = " x ".join("any" if want is None else str(want) for want in shape)
        raise ConfigError(
            f"{path} holds {' x '.join(map(str, sizes))} values, expected {wanted}; {hint}"
        )
    return start + header, sizes


def _read(path: Path, file: BinaryIO, shape: Sequence[int | None], hint: str) -> NDArray[np.uint8]:
    """Read the whole file, header and values, which must have the length that it announces."""
    header, sizes = _header(path, file, shape, hint)
    length = int(np.prod(sizes, dtype=object))
    packed_bytes = os.fstat(file.fileno()).st_size
    if length > packed_bytes * (GZIP_MAX_RATIO if path.suffix == ".gz" else 1):
        raise ConfigError(
            f"{path} is too short: its header announces {length} values, and the file has "
            f"{packed_bytes} bytes; get a fresh copy"
        )
    whole = np.empty(len(header) + length, np.uint8)
    whole[: len(header)] = np.frombuffer(header, np.uint8)
    found = _fill(file, whole[len(header) :])
    if found != length:
        more = "more" if found > length else str(found)
        raise ConfigError(
            f"{path} is too {'long' if found > length else 'short'}: its header announces "
            f"{length} values, found {more}; get a fresh copy"
        )
    return whole


def _fill(file: BinaryIO, values: NDArray[np.uint8]) -> int:
    """Fill ``values`` from the file; return the number of bytes found, at most one too many."""
    view = memoryview(values.data)
    found = 0
    # Reading in pieces touches pages of memory only as bytes arrive.
    while found < len(view):
        piece = file.readinto(view[found : found + READ_BYTES])  # type: ignore[attr-defined]
        if not piece:
            return found
        found += piece
    # Reading on to the end also makes gzip compare its checksum.
    return found + len(file.read(1))
