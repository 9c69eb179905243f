"""Dense data sets in HDF5 files (.h5, .hdf5, .h5ad), read into memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.npy import DEFLATE_MAX_RATIO
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.parts import as_value_errors, check_memory, import_reader, to_part
from sae_cli.datasets.rows import Part

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
        path, keys, lambda key: [_read(path, str(key))], MATRIX if MATRIX in keys else None
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


def _read(path: Path, key: str) -> Part:
    h5py, what = import_reader("h5py", path), array_name(path, key)
    with as_value_errors("h5py"), h5py.File(path, "r") as file:
        found = file[key]
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
        check_memory(found.nbytes, what)
        values = np.empty(found.shape, found.dtype.newbyteorder("="))
        if values.size:
            found.read_direct(values)
    return to_part(values, what)
