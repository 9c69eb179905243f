"""Dense data sets in HDF5 files (.h5, .hdf5, .h5ad)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.npy import DEFLATE_MAX_RATIO
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.packed import Packed, by_rows, piece_rows
from sae_cli.datasets.formats.parts import as_value_errors, check_memory, import_reader, to_part

# The matrix of cells and genes in a file of AnnData.
MATRIX = "X"
NUMBERS = "fiub"


def open_hdf5(path: Path) -> ArrayFile:
    """Open an HDF5 file; ``X`` is meant where it has one.

    Raises:
        ConfigError: ``X`` is sparse, or h5py is not installed.
        ValueError, OSError: the file is damaged.
    """
    h5py = import_reader("h5py", path)
    with as_value_errors("h5py"), h5py.File(path, "r") as file:
        keys: list[str] = []
        # Each object is visited once, and links to other files are not followed.
        file.visititems(lambda name, item: keys.append(name) if _is_dense(h5py, item) else None)
        if MATRIX not in keys and path.suffix.lower() == ".h5ad":
            _refuse_sparse(path, file)
    return ArrayFile(
        path, keys, lambda key: [_packed(path, str(key))], MATRIX if MATRIX in keys else None
    )


def _is_dense(h5py: Any, item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in NUMBERS and item.ndim > 0


def _refuse_sparse(path: Path, file: Any) -> None:
    found = file.get(MATRIX)
    kind = "absent" if found is None else "a sparse matrix"
    raise ConfigError(
        f"{path}: {MATRIX} is {kind}, and only dense arrays are trained on; save a dense one: "
        f"np.save(FILE, anndata.read_h5ad({path.name!r}).X.toarray())"
    )


def _packed(path: Path, key: str) -> Packed:
    """Look at a data set.

    Raises:
        ConfigError: its values are elsewhere, or are more than the file can hold.
    """
    what = array_name(path, key)
    with _opened(path, key) as found:
        if found.is_virtual or found.external:
            raise ConfigError(f"{what} has its values in other files; copy them into this one")
        held = found.id.get_storage_size() * DEFLATE_MAX_RATIO
        chunk = math.prod(found.chunks or ()) * found.dtype.itemsize
        # Without rows no chunk is there, and none is read.
        if found.nbytes and max(found.nbytes, chunk) > held:
            raise ConfigError(
                f"{what} announces {found.nbytes} bytes, more than it can hold; save it again, "
                "with all of its values"
            )
        # An array of a type that is not read need not be unpacked.
        to_part(np.empty(0, found.dtype.newbyteorder("=")), what)
        # A chunk is unpacked at once, wherever its values go.
        check_memory(chunk if found.nbytes else 0, what)
        return Packed(
            path,
            what,
            found.nbytes,
            lambda: [to_part(_read(path, key), what)],
            lambda: _pieces(path, key, what),
            in_passing=_band(found) * _row_bytes(found) if _is_split(found) else 0,
            at_once=_at_once(found),
            beside=chunk,
        )


@contextlib.contextmanager
def _opened(path: Path, key: str) -> Iterator[Any]:
    h5py = import_reader("h5py", path)
    with as_value_errors("h5py"), h5py.File(path, "r") as file:
        yield file[key]


def _read(path: Path, key: str) -> NDArray[Any]:
    with _opened(path, key) as found:
        return _values(found, np.s_[:], found.shape)


def _values(found: Any, selected: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    values = np.empty(shape, found.dtype.newbyteorder("="))
    if values.size:
        found.read_direct(values, selected)
    return values


def _pieces(path: Path, key: str, what: str) -> Iterator[NDArray[Any]]:
    """Read each chunk once: bands of chunks, and those that are too large column by column."""
    with _opened(path, key) as found:
        band, shape = _band(found), found.shape
        step = band * piece_rows(band * _row_bytes(found))
        for start in range(0, len(found), step):
            rows = min(step, len(found) - start)
            if _is_split(found):
                n_bytes = rows * _row_bytes(found)
                yield from by_rows(_blocks(found, start, rows), rows, n_bytes, what)
            else:
                yield _values(found, np.s_[start : start + rows], (rows, *shape[1:]))


def _blocks(found: Any, start: int, rows: int) -> Iterator[NDArray[Any]]:
    """Read a band, a few columns of chunks at a time."""
    _, n_columns, *rest = found.shape
    width = _block_width(found, rows)
    for left in range(0, n_columns, width):
        right = min(left + width, n_columns)
        yield _values(found, np.s_[start : start + rows, left:right], (rows, right - left, *rest))


def _block_width(found: Any, rows: int) -> int:
    """Count the columns of a band that are read at a time, those of a chunk at least."""
    _, _, *rest = found.shape
    width = int(found.chunks[1])
    return width * piece_rows(rows * math.prod((width, *rest)) * found.dtype.itemsize)


def _at_once(found: Any) -> int:
    """Count the bytes that are read at a time: of a band, or of some of its columns."""
    if not found.size:
        return 0
    band = _band(found)
    n_bytes = band * _row_bytes(found)
    return n_bytes * _block_width(found, band) // found.shape[1] if _is_split(found) else n_bytes


def _band(found: Any) -> int:
    """Count the rows that a chunk has values of."""
    return min(found.chunks[0], len(found)) if found.chunks else 1


def _row_bytes(found: Any) -> int:
    return int(found.nbytes // max(1, len(found)))


def _is_split(found: Any) -> bool:
    """Whether a band of chunks is too large to be read at once, and has several side by side."""
    return bool(
        found.chunks
        and _band(found) > piece_rows(_row_bytes(found))
        and found.ndim > 1
        and found.chunks[1] < found.shape[1]
    )
