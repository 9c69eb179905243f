"""An opened file of arrays, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.axes import Axes
from sae_cli.datasets.formats.packed import Packed
from sae_cli.datasets.formats.unpacked import unpack
from sae_cli.datasets.rows import Part, Shards, Stored, slice_rows
from sae_cli.datasets.stream import too_large


@dataclass(frozen=True)
class ArrayFile:
    """An opened file, or several that hold rows of the same arrays.

    Attributes:
        path: absolute.
        keys: the names of its arrays; None for a format that holds a single one without a name.
        read: gives the parts of the array of that name (None for a single one), or what they are
            to be unpacked from; raises ConfigError.
        default: the array that is meant where none is named.
        axes: what the axes of its arrays are, where the format says so.
        count: how many files there are, in words; nothing for one.
    """

    path: Path
    keys: list[str] | None
    read: Callable[[str | None], Sequence[Part | Packed]]
    default: str | None = None
    axes: Axes | None = None
    count: str = ""

    def name_of(self, key: str | None) -> str:
        """Name an array in messages."""
        return array_name(self.path, key)

    def stored(self, key: str | None) -> Stored:
        """Give the values of the array of that name.

        Raises:
            ConfigError: it cannot be read, or its parts differ in type or width.
            MachineError: the disk gives out.
        """
        found = self.read(key)
        parts = unpack(found, self.name_of(key))
        if len(parts) > 1:
            parts = refuse_differences(parts)
        large = too_large(sum(part.values.nbytes for part in parts), torch.device("cpu"))
        # Shards keep little of a mapped file in memory, even where it is one.
        in_shards = large or any(isinstance(one, Packed) for one in found)
        first = parts[0].values
        if len(parts) == 1 and (parts[0].mapping is None or not in_shards or not first.ndim):
            return first
        return Shards(parts, large=large)

    def load(self, key: str | None) -> Tensor:
        """Give the values of an array as one tensor."""
        stored = self.stored(key)
        return slice_rows(stored, 0, len(stored))


def array_name(path: Path, key: str | None) -> str:
    """Name an array in messages."""
    return str(path) if key is None else f"{path}[{key}]"


def refuse_differences(parts: list[Part]) -> list[Part]:
    """Leave out parts without rows; refuse one of another width or type than the others.

    Raises:
        ConfigError: the first that differs from the first part.
    """
    parts = [part for part in parts if len(part.values)] or parts[:1]
    for part in parts[1:]:
        if _kind(part.values) != _kind(parts[0].values):
            raise ConfigError(
                f"{part.what} is {_describe(part, parts)}, and {parts[0].what} is "
                f"{_describe(parts[0], parts)}; give rows of one type and shape"
            )
    return parts


def _describe(one: Part, parts: list[Part]) -> str:
    """Word the type and the shape of all parts of the same name that are of this kind."""
    same = [part.values for part in parts if _named_kind(part) == _named_kind(one)]
    n_rows = sum(len(values) for values in same)
    return f"{dtype_name(one.values)} {(n_rows, *one.values.shape[1:])}"


def _named_kind(part: Part) -> tuple[str, tuple[object, ...]]:
    return part.what, _kind(part.values)


def describe_kind(values: Stored) -> str:
    """Word a type and a shape: ``float32 (50, 6)``."""
    return f"{dtype_name(values)} {tuple(values.shape)}"


def dtype_name(values: Stored) -> str:
    return str(values.dtype).removeprefix("torch.")


def _kind(values: Tensor) -> tuple[object, ...]:
    return values.dtype, tuple(values.shape[1:])
