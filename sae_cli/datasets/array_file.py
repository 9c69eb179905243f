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
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
TYPES = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATS + INTEGERS)


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
            # Opened here, since np.load leaves a damaged file open.
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
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
    tensor = found if isinstance(found, Tensor) else _tensor(file, found)
    if tensor.dtype not in FLOATS + INTEGERS:
        raise _unfit(file, str(tensor.dtype).removeprefix("torch."))
    return tensor


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
        raise _unfit(file, str(found.dtype)) from None


def _unfit(file: Path, dtype: str) -> ConfigError:
    return ConfigError(f"{file} holds {dtype}; expected {TYPES}")
