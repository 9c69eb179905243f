"""Dense data sets in HDF5 files (.h5, .hdf5, .h5ad): mapped where they lie in one piece."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.npy import DEFLATE_MAX_RATIO
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.parts import (
    as_value_errors,
    check_memory,
    import_reader,
    map_part,
    to_part,
)
from sae_cli.datasets.formats.unpacked import MOST_IN_MEMORY, unpack
from sae_cli.datasets.rows import Part

# The matrix of cells and genes in a file of AnnData.
MATRIX = "X"
NUMBERS = "fiub"
# A truth value in a file may be another number than 0 and 1.
MAPPED = "fiu"
# About so much of a large array is unpacked at a time.
PIECE_BYTES = 1 << 27


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
        path, keys, lambda key: _read(path, str(key)), MATRIX if MATRIX in keys else None
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


def _read(path: Path, key: str) -> list[Part]:
    h5py, what = import_reader("h5py", path), array_name(path, key)
    with as_value_errors("h5py"), h5py.File(path, "r") as file:
        found = file[key]
        if found.is_virtual or found.external:
            raise ConfigError(f"{what} has its values in other files; copy them into this one")
        if _is_as_in_memory(h5py, found):
            return [map_part(path, what, found.dtype, found.shape, found.id.get_offset())]
        held = found.id.get_storage_size() * DEFLATE_MAX_RATIO
        chunk = math.prod(found.chunks or ()) * found.dtype.itemsize
        if max(found.nbytes, chunk) > held:
            raise ConfigError(
                f"{what} announces {found.nbytes} bytes, more than it can hold; save it again, "
                "with all of its values"
            )
        return unpack(_pieces(found, what), MOST_IN_MEMORY)


def _is_as_in_memory(h5py: Any, found: Any) -> bool:
    """Whether the file has the values in one piece, byte for byte as NumPy has them."""
    return bool(
        found.size
        and found.dtype.kind in MAPPED
        and found.dtype.isnative
        and found.chunks is None
        and found.id.get_offset() is not None
        and found.id.get_type().equal(h5py.h5t.py_create(found.dtype))
    )


def _pieces(found: Any, what: str) -> Iterator[Part]:
    """Read all rows of a small array at once, and those of a large one a few chunks at a time."""
    n_rows, n_bytes = len(found), found.nbytes
    if n_bytes > MOST_IN_MEMORY:
        # A chunk that two pieces share would be unpacked twice.
        of_chunk = found.chunks[0] if found.chunks else 1
        n_rows = max(1, PIECE_BYTES // (n_bytes // n_rows * of_chunk)) * of_chunk
    check_memory(min(n_bytes, n_bytes // max(1, len(found)) * n_rows), what)
    for start in range(0, max(1, len(found)), max(1, n_rows)):
        end = min(start + n_rows, len(found))
        values = np.empty((end - start, *found.shape[1:]), found.dtype.newbyteorder("="))
        if values.size:
            found.read_direct(values, np.s_[start:end])
        yield to_part(values, what)
