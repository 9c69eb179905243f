"""Columns of numbers, and of lists of numbers, in the memory format of Apache Arrow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError


def is_list(pa: Any, kind: Any) -> bool:
    """Tell whether a type of PyArrow is one of lists."""
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def depth_of(pa: Any, kind: Any) -> int | None:
    """Count the lists that are around a number: 0 for a column of numbers, None for other types."""
    depth, kind = 0, storage_type(pa, kind)
    while is_list(pa, kind):
        depth, kind = depth + 1, storage_type(pa, kind.value_type)
    types = pa.types
    known = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return depth if known else None


def storage_type(pa: Any, kind: Any) -> Any:
    """Give the type in which an extension type is stored, or the type itself."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def refuse_twice(names: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Refuse columns that cannot be told apart by their names.

    Raises:
        ConfigError: several columns have one of the wanted names.
    """
    counts = Counter(names)
    for name in wanted:
        if counts[name] > 1:
            raise ConfigError(
                f"{path}: {counts[name]} columns have the name {name!r}; give each a name of its "
                "own, or save one array of rows as .npy"
            )


def to_array(pa: Any, column: Any, what: str, before: int = 0) -> NDArray[Any]:
    """Give the values of a column of numbers or lists, ``(rows, ...)``, without a copy if it can.

    Args:
        before: how many rows of the column came before these.

    Raises:
        ConfigError: some are missing, or lists differ in length.
    """
    shape = [len(column)]
    while True:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if column.null_count:
            raise ConfigError(
                f"{what}: {column.null_count} values are missing; remove or fill such rows"
            )
        if not is_list(pa, column.type):
            break
        inner = column.flatten()
        # Offsets were checked, so that only the lengths are looked at.
        lengths = np.asarray(column.value_lengths())
        width = int(lengths[0]) if len(lengths) else 0
        if (lengths != width).any():
            odd = int((lengths != width).argmax())
            place, n = before * math.prod(shape[1:]) + odd, int(lengths[odd])
            raise ConfigError(
                f"{what}: the list in place {place} (the first is 0) has {n} values, and others "
                f"have {width}; give lists of one length"
            )
        shape.append(width)
        column = inner
    copied = pa.types.is_boolean(column.type)
    values: NDArray[Any] = column.to_numpy(zero_copy_only=not copied)
    return values.reshape(shape)
