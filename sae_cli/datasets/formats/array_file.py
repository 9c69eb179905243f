"""Files of arrays, opened by their endings, and never unpickled.

Those that can be are memory-mapped read-only; others are packed, and unpacked when they are read.
"""

from __future__ import annotations

import contextlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path
from sae_cli.datasets.formats.arrow import open_arrow
from sae_cli.datasets.formats.hdf5 import open_hdf5
from sae_cli.datasets.formats.npy import map_npy, npz_header, npz_keys, npz_pieces, read_npz
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.packed import Packed, piece_rows
from sae_cli.datasets.formats.parquet import open_parquet
from sae_cli.datasets.formats.parts import to_part
from sae_cli.datasets.formats.safetensors_file import open_safetensors
from sae_cli.datasets.formats.text_table import open_text_table
from sae_cli.datasets.formats.torch_file import open_torch_file
from sae_cli.datasets.formats.unchanged import Identity, identity, unchanged
from sae_cli.datasets.rows import Part


def open_array_file(given: str, option: str) -> ArrayFile:
    """Open a file by its ending; ``option`` is the key of ``given`` in the configuration.

    Raises:
        ConfigError: missing, of another ending, or damaged.
    """
    path = full_path(given)
    suffix = path.suffix.lower()
    if suffix not in OPENERS:
        raise ConfigError(
            f"{option}={given} ends in {suffix or 'nothing'}; give a file that ends in "
            f"{', '.join(OPENERS)}"
        )
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ConfigError(f"{option}={given}: {path} {what}; give the path of the array's file")
    with _reading(path):
        seen = identity(path)
        opened = OPENERS[suffix](path)

    def read(key: str | None) -> Sequence[Part | Packed]:
        with _reading(path):
            return [_guarded(one, seen) for one in opened.read(key)]

    return replace(opened, read=read)


def _guarded(found: Part | Packed, seen: Identity) -> Part | Packed:
    """Have what is unpacked later be of the file that was seen, and its errors name it, too."""
    if isinstance(found, Part):
        return found

    def read() -> list[Part]:
        with _reading(found.path), unchanged(found.path, seen):
            return found.read()

    def pieces() -> Iterator[NDArray[Any]]:
        # What whoever takes the pieces raises does not come by here.
        with _reading(found.path), unchanged(found.path, seen):
            yield from found.pieces()

    return replace(found, read=read, pieces=pieces, file_bytes=seen.n_bytes)


def _open_npy(path: Path) -> ArrayFile:
    array = map_npy(path)
    return ArrayFile(path, None, lambda _: [to_part(array, str(path))])


def _open_npz(path: Path) -> ArrayFile:
    keys = npz_keys(path)
    if {"format", "shape", "data"} <= set(keys):
        raise ConfigError(
            f"{path} is a sparse matrix of SciPy, and only dense arrays are trained on; save it "
            f"as one: np.save(FILE, scipy.sparse.load_npz({path.name!r}).toarray())"
        )

    return ArrayFile(path, keys, lambda key: [_packed_npz(path, str(key))])


def _packed_npz(path: Path, key: str) -> Packed:
    header, what = npz_header(path, key), array_name(path, key)
    # An array of a type that is not read need not be unpacked.
    to_part(np.empty(0, header.dtype), what)
    return Packed(
        path,
        what,
        header.array_bytes,
        lambda: [to_part(read_npz(path, key), what)],
        lambda: npz_pieces(path, key, piece_rows(1)),
        shaped=lambda flat: flat.view(header.dtype).reshape(
            header.shape, order="F" if header.by_columns else "C"
        ),
    )


OPENERS: dict[str, Callable[[Path], ArrayFile]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".safetensors": open_safetensors,
    ".pt": open_torch_file,
    ".pth": open_torch_file,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".h5ad": open_hdf5,
    ".parquet": open_parquet,
    ".arrow": open_arrow,
    ".csv": open_text_table,
    ".tsv": open_text_table,
}
# The values of other files stay where they are.
PACKED = (".npz", ".h5", ".hdf5", ".h5ad", ".parquet", ".csv", ".tsv")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the readers raise on a damaged file into a ConfigError that names it."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        SyntaxError,
        OverflowError,
        KeyError,
        EOFError,
        MemoryError,
        OSError,
        RuntimeError,
        SafetensorError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
    ) as error:
        text = " ".join(str(error).split())
        if "object arrays" in text.lower() or "python objects" in text.lower():
            text = "it holds Python objects, and these are never unpickled"
        raise ConfigError(
            f"{path} cannot be read ({text}); save it again, as an array of numbers"
        ) from None
