"""Arrays in .npy, .npz and .safetensors files, never unpickled.

.npy and .safetensors are memory-mapped read-only. A writable private mapping (NumPy's mode ``c``,
and safetensors' own) counts as memory: the system refuses it for a file larger than the memory.
"""

from __future__ import annotations

import contextlib
import json
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path
from sae_cli.datasets.formats.mapped import map_array
from sae_cli.datasets.formats.npy import map_npy, npz_keys, read_npz

# NumPy does not know bfloat16, so it is mapped as integers of the same size.
SAFETENSORS_DTYPES = {
    "F16": np.float16,
    "BF16": np.uint16,
    "F32": np.float32,
    "F64": np.float64,
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
}


@dataclass(frozen=True)
class ArrayFile:
    """An opened file.

    Attributes:
        path: absolute.
        keys: the names of its arrays; None for a format that holds a single one without a name.
        load: reads the array of that name (None for a single one); raises ConfigError.
    """

    path: Path
    keys: list[str] | None
    load: Callable[[str | None], Tensor]

    def name_of(self, key: str | None) -> str:
        """Name an array in messages."""
        return str(self.path) if key is None else f"{self.path}[{key}]"


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
        return OPENERS[suffix](path)


def _open_npy(path: Path) -> ArrayFile:
    array = map_npy(path)
    return ArrayFile(path, None, lambda _: _tensor(array, str(path)))


def _open_npz(path: Path) -> ArrayFile:
    def load(key: str | None) -> Tensor:
        with _reading(path):
            return _tensor(read_npz(path, str(key)), f"{path}[{key}]")

    keys = npz_keys(path)
    if {"format", "shape", "data"} <= set(keys):
        raise ConfigError(
            f"{path} is a sparse matrix of SciPy, and only dense arrays are trained on; save it "
            f"as one: np.save(FILE, scipy.sparse.load_npz({path.name!r}).toarray())"
        )
    return ArrayFile(path, keys, load)


def _open_safetensors(path: Path) -> ArrayFile:
    # The library checks the header, and that the arrays fill the file.
    with safe_open(path, framework="numpy") as file:
        keys = sorted(file.keys())
    with path.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))

    def load(key: str | None) -> Tensor:
        entry, what = header[key], f"{path}[{key}]"
        if entry["dtype"] not in SAFETENSORS_DTYPES:
            raise ConfigError(
                f"{what} is of {entry['dtype']}; convert it to one of "
                f"{', '.join(SAFETENSORS_DTYPES)}"
            )
        dtype = np.dtype(SAFETENSORS_DTYPES[entry["dtype"]])
        shape, start = tuple(entry["shape"]), 8 + length + entry["data_offsets"][0]
        if 0 in shape:
            return torch.empty(shape)
        with _reading(path), path.open("rb") as opened:
            array = map_array(path, opened, dtype.newbyteorder("<"), shape, start)
        tensor = _tensor(array, what)
        return tensor.view(torch.bfloat16) if entry["dtype"] == "BF16" else tensor

    return ArrayFile(path, keys, load)


OPENERS: dict[str, Callable[[Path], ArrayFile]] = {
    ".npy": _open_npy,
    ".npz": _open_npz,
    ".safetensors": _open_safetensors,
}


def _tensor(array: NDArray[Any], what: str) -> Tensor:
    """Make a tensor of an array's memory.

    Raises:
        ConfigError: torch does not have the type or the byte order.
    """
    if not array.dtype.isnative:
        raise ConfigError(
            f"{what} has the byte order of other machines; save it with "
            "array.astype(array.dtype.newbyteorder('='))"
        )
    with warnings.catch_warnings():
        # A mapped array is read-only, and nothing writes to a data set's stored values.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        try:
            return torch.from_numpy(np.require(array, requirements="A"))
        except TypeError:
            raise ConfigError(
                f"{what} is of {array.dtype}; convert it to numbers, for example float32"
            ) from None


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
        if "object" in text.lower():
            text = "it holds Python objects, and these are never unpickled"
        raise ConfigError(
            f"{path} cannot be read ({text}); save it again, as an array of numbers"
        ) from None
