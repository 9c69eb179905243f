"""An opened file of arrays, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.axes import Axes
from sae_cli.datasets.rows import Part, Shards, Stored, slice_rows
from sae_cli.datasets.stream import too_large


@dataclass(frozen=True)
class ArrayFile:
    """An opened file, or several that hold rows of the same arrays.

    Attributes:
        path: absolute.
        keys: the names of its arrays; None for a format that holds a single one without a name.
        read: gives the parts of the array of that name (None for a single one), of one shape and
            type; raises ConfigError.
        default: the array that is meant where none is named.
        axes: what the axes of its arrays are, where the format says so.
        count: how many files there are, in words; nothing for one.
    """

    path: Path
    keys: list[str] | None
    read: Callable[[str | None], list[Part]]
    default: str | None = None
    axes: Axes | None = None
    count: str = ""

    def name_of(self, key: str | None) -> str:
        """Name an array in messages."""
        return array_name(self.path, key)

    def stored(self, key: str | None) -> Stored:
        """Give the values of the array of that name."""
        parts = self.read(key)
        large = too_large(sum(part.values.nbytes for part in parts), torch.device("cpu"))
        # Shards keep little of a mapped file in memory, even where it is one.
        if len(parts) == 1 and (parts[0].mapping is None or not large):
            return parts[0].values
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
                f"{part.what} is {describe_kind(part.values)}, and {parts[0].what} is "
                f"{describe_kind(parts[0].values)}; give rows of one type and shape"
            )
    return parts


def describe_kind(values: Stored) -> str:
    """Word a type and a shape: ``float32 (50, 6)``."""
    return f"{dtype_name(values)} {tuple(values.shape)}"


def dtype_name(values: Stored) -> str:
    return str(values.dtype).removeprefix("torch.")


def _kind(values: Tensor) -> tuple[object, ...]:
    return values.dtype, tuple(values.shape[1:])
