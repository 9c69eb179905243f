"""IDX files: the format of MNIST and its relatives (LeCun, Cortes and Burges 1998)."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.registry import ConfigError

UNSIGNED_BYTE = 0x08
# Above any known set of this format, far below any machine's memory.
MOST_BYTES = 1 << 31


def read_idx(path: Path, n_dims: int, sha256: str | None) -> Tensor:
    """uint8 tensor of an IDX file, plain or gzipped.

    Args:
        path: the file; a name ending in ``.gz`` is unpacked on the way.
        n_dims: how many axes it must have.
        sha256: of the unpacked bytes, if they are known.

    Raises:
        ConfigError: the file is truncated, too long, of another format or not the known one.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * n_dims)
            sizes = _sizes(path, header, n_dims)
            wanted = math.prod(sizes)
            # One more than wanted tells a file that is too long; more is never taken in.
            body = file.read(wanted + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"it cannot be unpacked or read ({error})") from None
    if len(body) != wanted:
        found = f"only {len(body)}" if len(body) < wanted else "more"
        raise _damaged(path, f"its header tells of {wanted} values {sizes} and it holds {found}")
    if sha256 is not None and hashlib.sha256(header + body).hexdigest() != sha256:
        raise _damaged(
            path,
            "its SHA-256 is not that of the published file (dataset.verify=false reads it anyway)",
        )
    return torch.frombuffer(bytearray(body), dtype=torch.uint8).view(sizes)


def _sizes(path: Path, header: bytes, n_dims: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * n_dims:
        raise _damaged(path, f"it ends within its header, after {len(header)} bytes")
    zeros, kind, dims = struct.unpack(">HBB", header[:4])
    if (zeros, kind, dims) != (0, UNSIGNED_BYTE, n_dims):
        raise _damaged(
            path,
            f"it begins with {header[:4].hex()}, an IDX file of bytes with {n_dims} axes with "
            f"{bytes([0, 0, UNSIGNED_BYTE, n_dims]).hex()}",
        )
    sizes = struct.unpack(f">{n_dims}I", header[4:])
    if math.prod(sizes) > MOST_BYTES:
        raise _damaged(path, f"its header tells of {sizes}, more than {MOST_BYTES} values")
    return sizes


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is damaged or no IDX file: {why}; replace it")
