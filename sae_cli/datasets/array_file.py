"""One array out of a ``.npy``, ``.npz`` or ``.safetensors`` file; nothing is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_cli.registry import ConfigError, nearest

KINDS = (".npy", ".npz", ".safetensors")
TYPES = "float16, bfloat16, float32, float64, uint8, int8, int16, int32, int64"


def read_array(file: Path, key: str | None, path_option: str, key_option: str) -> Tensor:
    """The array, memory-mapped where the format allows it.

    Args:
        file: the file.
        key: which array of several; None for the only one.
        path_option, key_option: what the command line calls them, for errors.

    Raises:
        ConfigError: the file is missing, of another kind or damaged; no such key; not numbers.
    """
    if file.suffix not in KINDS:
        raise ConfigError(f"{path_option}={file}: the file must end in {', '.join(KINDS)}")
    if not file.is_file():
        raise ConfigError(f"{path_option}={file}: no such file")
    try:
        if file.suffix == ".npy":
            # Copy-on-write: the file is never changed, and torch may take the memory.
            found: np.ndarray | Tensor = np.load(file, mmap_mode="c", allow_pickle=False)
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                found = arrays[_key(file, key, list(arrays.files), key_option)]
        else:
            with safe_open(file, "pt") as tensors:
                found = tensors.get_tensor(_key(file, key, list(tensors.keys()), key_option))
    except (
        OSError,
        EOFError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{file} is damaged or holds no plain array ({reason}); save it again"
        ) from None
    return found if isinstance(found, Tensor) else _tensor(file, found)


def _key(file: Path, key: str | None, keys: list[str], option: str) -> str:
    listed = ", ".join(keys)
    if key is None:
        if len(keys) != 1:
            raise ConfigError(f"{file} holds {listed or 'nothing'}; choose one with {option}=KEY")
        return keys[0]
    if key not in keys:
        raise ConfigError(f"{option}={key}: {file} holds {listed}{nearest(key, keys)}")
    return key


def _tensor(file: Path, found: np.ndarray) -> Tensor:
    native = found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(native)
    except TypeError:
        raise ConfigError(f"{file} holds {found.dtype}; expected {TYPES}") from None
