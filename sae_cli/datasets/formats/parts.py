"""Arrays as tensors: those in a mapped file, which stay there, and those in memory."""

from __future__ import annotations

import contextlib
import mmap
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError, SaeError
from sae_cli.core.memory import free_memory
from sae_cli.core.text import in_units
from sae_cli.datasets.formats.mapped import map_array
from sae_cli.datasets.rows import Part


def map_part(
    path: Path, what: str, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int
) -> Part:
    """Map values of a file, read-only.

    A writable private mapping counts as memory: the system refuses it for a file larger than the
    memory.

    Raises:
        ValueError, OSError: the file is shorter, or cannot be read.
    """
    with path.open("rb") as file:
        return to_part(map_array(path, file, dtype, shape, offset), what)


def to_part(array: NDArray[Any], what: str, within: NDArray[Any] | None = None) -> Part:
    """Make a tensor of an array's memory.

    Args:
        within: the mapped array that the array may lie in; None for itself.

    Raises:
        ConfigError: torch does not have the type or the byte order.
    """
    if array.dtype == np.dtype("V2"):
        raise ConfigError(
            f"{what} is of V2, as which np.save writes bfloat16; say so, and save it as "
            ".safetensors: save_file({'x': torch.from_numpy(np.load(FILE).view(np.int16))"
            ".view(torch.bfloat16)}, NEW)"
        )
    if not array.dtype.isnative:
        raise ConfigError(
            f"{what} has the byte order of other machines; save it with "
            "array.astype(array.dtype.newbyteorder('='))"
        )
    with warnings.catch_warnings():
        # A mapped array is read-only, and nothing writes to a data set's stored values.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        try:
            tensor = torch.from_numpy(np.require(array, requirements="A"))
        except TypeError:
            raise ConfigError(
                f"{what} is of {array.dtype}; convert it to numbers, for example float32"
            ) from None
    base = (array if within is None else within).base
    return Part(tensor, what, base if isinstance(base, mmap.mmap) else None)


def check_memory(n_bytes: int, what: str) -> None:
    """Refuse what would not fit in the memory that is free.

    Raises:
        ConfigError: it would not.
    """
    free = free_memory()
    if n_bytes > free:
        raise ConfigError(
            f"{what} takes {in_units(n_bytes)} of memory, and {in_units(int(free))} "
            "are free; save it as .npy or .safetensors, which stay on disk"
        )


def import_reader(name: str, path: Path) -> ModuleType:
    """Import the library that reads files like this one.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f"{path}: {name.partition('.')[0]}, which reads such files, is not installed; run "
            "`pip install 'sae-train[activations]'`, or save the array as .npy or .safetensors"
        ) from None


@contextlib.contextmanager
def as_value_errors(library: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a ValueError.

    A file that was made up may make it raise anything.
    """
    try:
        yield
    except (SaeError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split()).partition(" The above exception")[0]
        raise ValueError(f"{library}: {text[:300] or type(error).__name__}") from None
