"""Parquet files: a table of numbers, or a column of lists of numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.columns import (
    depth_of,
    is_list,
    refuse_twice,
    storage_type,
    to_array,
)
from sae_cli.datasets.formats.opened import ArrayFile, array_name
from sae_cli.datasets.formats.packed import Packed, by_rows, piece_rows
from sae_cli.datasets.formats.parts import as_value_errors, import_reader, to_part
from sae_cli.datasets.rows import Part

BUFFER_BYTES = 1 << 16


def open_parquet(path: Path) -> ArrayFile:
    """Open a Parquet file: all of its columns are one array, or one of them is, if it has lists.

    Raises:
        ConfigError: a column of a table does not hold numbers, or PyArrow is not installed.
        ValueError, OSError: the file is damaged.
    """
    with _opened(path) as (pa, file):
        names = file.schema_arrow.names
        depths = {field.name: depth_of(pa, field.type) for field in file.schema_arrow}
    lists = [name for name, depth in depths.items() if depth]
    if not lists:
        _check_table(path, depths)
        refuse_twice(names, names, path)
        return ArrayFile(path, None, lambda _: [_table(path, names)])
    return ArrayFile(
        path,
        [name for name, depth in depths.items() if depth is not None],
        lambda key: [_lists(path, str(key))],
        default=lists[0] if len(lists) == 1 else None,
    )


def _check_table(path: Path, depths: dict[str, int | None]) -> None:
    odd = [name for name, depth in depths.items() if depth is None]
    if odd or not depths:
        what = f"its column {odd[0]!r} does not hold numbers" if odd else "it has no columns"
        raise ConfigError(
            f"{path}: {what}; give columns of numbers only, or one of lists of numbers"
        )
    index = [name for name in depths if name.startswith("__index_level_")]
    if index:
        raise ConfigError(
            f"{path}: the column {index[0]!r} is an index of pandas, not a feature; save it with "
            "to_parquet(FILE, index=False)"
        )


def _table(path: Path, names: list[str]) -> Packed:
    """Look at a table, whose columns are the features; a group of rows is a part.

    Raises:
        ConfigError: it has no rows.
    """
    what = str(path)
    with _opened(path) as (pa, file):
        kinds = [_number_type(pa, field.type) for field in file.schema_arrow]
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    dtype, n_columns = np.result_type(*kinds), len(names)
    row_bytes = n_columns * dtype.itemsize
    _refuse_none(groups, what)

    def block(file: Any, number: int, some: list[str]) -> NDArray[Any]:
        pa = import_reader("pyarrow", path)
        group = file.read_row_group(number, columns=some)
        columns = [_column(pa, group, name, f"{path}[{name}]") for name in some]
        if len(group) != groups[number]:
            raise ValueError(f"it announces {groups[number]} rows, and has {len(group)}")
        if len(columns) == 1:
            return columns[0][:, None].astype(dtype, copy=False)
        return np.stack(columns, 1, dtype=dtype)

    def blocks(file: Any, number: int) -> Iterator[NDArray[Any]]:
        width = piece_rows(groups[number] * dtype.itemsize)
        for left in range(0, n_columns, width):
            # No name keeps a block while the next one is read.
            yield block(file, number, names[left : left + width])

    def read() -> list[Part]:
        parts = []
        with _opened(path) as (_, file):
            for number, n_rows in enumerate(groups):
                values, left = np.empty((n_rows, n_columns), dtype), 0
                for some in blocks(file, number):
                    values[:, left : left + some.shape[1]] = some
                    left += some.shape[1]
                    del some
                parts.append(to_part(values, what))
        return parts

    def pieces() -> Iterator[NDArray[Any]]:
        with _opened(path) as (_, file):
            for number, n_rows in enumerate(groups):
                if n_rows <= piece_rows(row_bytes):
                    yield np.concatenate(list(blocks(file, number)), axis=1)
                else:
                    yield from by_rows(blocks(file, number), n_rows, n_rows * row_bytes, what)

    longest = max(groups)
    in_passing = longest * row_bytes if longest > piece_rows(row_bytes) else 0
    # Columns are there as they were read, one after the other in one piece, and as a block.
    width = min(n_columns, piece_rows(longest * dtype.itemsize))
    at_once = 3 * longest * width * dtype.itemsize
    n_bytes = sum(groups) * row_bytes
    return Packed(path, what, n_bytes, read, pieces, in_passing, at_once, beside=at_once)


def _lists(path: Path, name: str) -> Packed:
    """Look at a column of lists, of one length, or of numbers.

    Raises:
        ConfigError: it has no rows, or several columns have the name.
    """
    what = array_name(path, name)
    with _opened(path) as (pa, file):
        refuse_twice(file.schema_arrow.names, [name], path)
        itemsize = _number_type(pa, file.schema_arrow.field(name).type).itemsize
        n_values = [_count(file.metadata.row_group(n), name) for n in range(file.num_row_groups)]
    _refuse_none(n_values, what)

    def pieces() -> Iterator[NDArray[Any]]:
        before = 0
        with _opened(path) as (pa, file):
            for number, n in enumerate(n_values):
                n_rows = file.metadata.row_group(number).num_rows
                rows = piece_rows(n * itemsize // max(1, n_rows))
                for batch in file.iter_batches(rows, [number], [name]):
                    column = batch.column(name)
                    column.validate(full=True)
                    yield to_array(pa, column, what, before)
                    before += len(column)
            if not before:
                yield _column(pa, file.schema_arrow.empty_table(), name, what)

    n_bytes = sum(n_values) * itemsize
    return Packed(path, what, n_bytes, lambda: [to_part(one, what) for one in pieces()], pieces)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    pa, pq = import_reader("pyarrow", path), import_reader("pyarrow.parquet", path)
    # Otherwise a group of rows is read whole, however few of its rows are asked for.
    options = {"buffer_size": BUFFER_BYTES, "pre_buffer": False}
    with as_value_errors("PyArrow"), pq.ParquetFile(path, **options) as file:
        yield pa, file


def _refuse_none(groups: list[int], what: str) -> None:
    if not groups:
        raise ConfigError(f"{what} has no rows; give a table with some")


def _column(pa: Any, group: Any, name: str, what: str) -> NDArray[Any]:
    column = group.column(name)
    # To combine a single chunk copies it, and older versions of PyArrow leave one in its list.
    column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    column.validate(full=True)
    return to_array(pa, column, what)


def _number_type(pa: Any, kind: Any) -> np.dtype[Any]:
    """Give NumPy's type of the numbers in a column of numbers or lists."""
    kind = storage_type(pa, kind)
    while is_list(pa, kind):
        kind = storage_type(pa, kind.value_type)
    found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    return found


def _count(group: Any, name: str) -> int:
    """Count the numbers of a column in a group of rows, or more."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return sum(
        column.num_values
        for column in columns
        if column.path_in_schema == name or column.path_in_schema.startswith(f"{name}.")
    )
