"""Tensors in .pt files as ``torch.save`` writes them, mapped read-only and never unpickled freely.

PyTorch reads what the tensors are, with ``weights_only=True`` and without their values. Its own
mapping of a file is private and writable, which counts as memory.
"""

from __future__ import annotations

import pickle
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.parts import as_value_errors, map_part
from sae_cli.datasets.rows import Part

# NumPy lacks types that PyTorch has, so values are mapped as integers of the same size.
INTEGERS = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}


def open_torch_file(path: Path) -> ArrayFile:
    """Open a file that holds a tensor, or a dictionary of tensors.

    Raises:
        ConfigError: it holds anything else, or is of a format that cannot be mapped.
        ValueError, OSError, zipfile.BadZipFile: it is damaged.
    """
    _check_archive(path)
    saved = _saved(path)
    if isinstance(saved, Tensor):
        return ArrayFile(path, None, lambda _: [_part(path, saved, str(path))])
    if not isinstance(saved, Mapping) or not all(isinstance(v, Tensor) for v in saved.values()):
        raise ConfigError(
            f"{path} holds {_describe(saved)}; save a tensor, or a dictionary of tensors: "
            "torch.save({'x': TENSOR}, FILE), or torch.save(torch.cat(LIST), FILE) for a list"
        )
    tensors = {str(name): tensor for name, tensor in saved.items()}

    def read(key: str | None) -> list[Part]:
        return [_part(path, tensors[str(key)], array_name(path, key))]

    return ArrayFile(path, list(tensors), read)


def _check_archive(path: Path) -> None:
    """Refuse what is not an archive of ``torch.save``, or would unpack to more than its size."""
    if not zipfile.is_zipfile(path):
        raise ConfigError(
            f"{path} is cut off, or not as torch.save writes files since PyTorch 1.6; save it "
            f"again: torch.save(torch.load({path.name!r}, weights_only=True), FILE)"
        )
    with path.open("rb") as opened, zipfile.ZipFile(opened) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is packed in a way that torch.save does not use")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("it announces more than it holds")
        orders = [entry for entry in entries if entry.filename.endswith("/byteorder")]
        if orders and archive.read(orders[0]) != sys.byteorder.encode():
            raise ValueError("it has the byte order of other machines")


def _saved(path: Path) -> Any:
    """Read what was saved; its tensors have no values."""
    with as_value_errors("PyTorch"), warnings.catch_warnings():
        # PyTorch warns of archives that hold a program, and refuses them.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="meta", weights_only=True)
        except NotImplementedError:
            # PyTorch checks the values of sparse tensors, which are not there.
            raise ConfigError(
                f"{path} holds a sparse tensor, and only dense arrays are trained on; save a "
                "dense one: torch.save(TENSOR.to_dense(), FILE)"
            ) from None
        except pickle.UnpicklingError as error:
            named = str(error).partition("Unsupported ")[2].splitlines()[:1]
            raise ConfigError(
                f"{path} holds more than tensors{': ' if named else ''}{''.join(named)[:200]}; if "
                "you trust it, convert it: torch.save(torch.as_tensor(torch.load("
                f"{path.name!r}, weights_only=False)), FILE)"
            ) from None


def _part(path: Path, tensor: Tensor, what: str) -> Part:
    """Map the values of a tensor that was read without them."""
    size, shape = tensor.element_size(), tuple(tensor.shape)
    if tensor.layout != torch.strided or tensor.is_quantized or size not in INTEGERS:
        raise ConfigError(
            f"{what} is of {tensor.dtype}, {tensor.layout}; convert it to a dense tensor of "
            "numbers: TENSOR.to(torch.float32)"
        )
    if 0 in shape:
        return Part(torch.empty(shape, dtype=tensor.dtype), what)
    start = int(tensor.storage_offset())
    last = start + sum((n - 1) * step for n, step in zip(shape, tensor.stride(), strict=True))
    storage = tensor.untyped_storage()
    if min(start, *tensor.stride(), storage.nbytes() // size - 1 - last) < 0:
        raise ValueError(f"{what} reaches beyond the values that were saved")
    if tensor.numel() > last + 1 - start:
        raise ConfigError(
            f"{what} repeats its values (it was expanded); save TENSOR.contiguous() instead"
        )
    # PyTorch's documentation of serialization describes this attribute.
    offset = storage._checkpoint_offset
    if offset is None:
        raise ValueError(f"{what} was saved without its values")
    mapped = map_part(path, what, np.dtype(INTEGERS[size]), (last + 1,), offset)
    values = mapped.values.view(tensor.dtype).as_strided(shape, tensor.stride(), start)
    return mapped._replace(values=values)


def _describe(saved: Any) -> str:
    if not isinstance(saved, Mapping):
        return f"a {type(saved).__name__}"
    odd = next(k for k, v in saved.items() if not isinstance(v, Tensor))
    return f"a {type(saved[odd]).__name__} by the name {str(odd)[:100]!r}"
