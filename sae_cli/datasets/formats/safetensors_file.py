"""Arrays in .safetensors files, mapped read-only.

The library's own mapping is private and writable, which counts as memory.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.parts import map_part
from sae_cli.datasets.rows import Part

# NumPy does not know bfloat16, so it is mapped as integers of the same size.
DTYPES = {
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


def open_safetensors(path: Path) -> ArrayFile:
    """Open a .safetensors file.

    Raises:
        ConfigError, SafetensorError, ValueError, OSError: damaged, or of other types.
    """
    # The library checks the header, and that the arrays fill the file.
    with safe_open(path, framework="numpy") as file:
        keys = sorted(file.keys())
    with path.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))

    def read(key: str | None) -> list[Part]:
        entry, what = header[key], array_name(path, key)
        if entry["dtype"] not in DTYPES:
            raise ConfigError(
                f"{what} is of {entry['dtype']}; convert it to one of {', '.join(DTYPES)}"
            )
        dtype = np.dtype(DTYPES[entry["dtype"]]).newbyteorder("<")
        shape, start = tuple(entry["shape"]), 8 + length + entry["data_offsets"][0]
        if 0 in shape:
            return [Part(torch.empty(shape), what)]
        part = map_part(path, what, dtype, shape, start)
        if entry["dtype"] == "BF16":
            part = part._replace(values=part.values.view(torch.bfloat16))
        return [part]

    return ArrayFile(path, keys, read)
