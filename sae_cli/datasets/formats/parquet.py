"""Parquet files, unpacked: a table of numbers, or a column of lists of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.columns import depth_of, to_array
from sae_cli.datasets.formats.opened import ArrayFile, array_name, refuse_differences
from sae_cli.datasets.formats.parts import as_value_errors, check_memory, import_reader, to_part
from sae_cli.datasets.formats.unpacked import MOST_IN_MEMORY, unpack
from sae_cli.datasets.rows import Part

# About so much of a group of rows is unpacked at a time, and no more rows than fit 32 bits.
PIECE_BYTES, MOST_ROWS = 1 << 27, 1 << 30
BUFFER_BYTES = 1 << 20
# Bytes of a number, by the type in the file; half floats are byte arrays there.
SIZES = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}


def open_parquet(path: Path) -> ArrayFile:
    """Open a Parquet file: all of its columns are one array, or one of them is, if it has lists.

    Raises:
        ConfigError: a column of a table does not hold numbers, or PyArrow is not installed.
        ValueError, OSError: the file is damaged.
    """
    pa, pq = import_reader("pyarrow", path), import_reader("pyarrow.parquet", path)
    with as_value_errors("PyArrow"), pq.ParquetFile(path) as file:
        depths = {field.name: depth_of(pa, field.type) for field in file.schema_arrow}
    lists = [name for name, depth in depths.items() if depth]
    if not lists:
        _check_table(path, depths)
        return ArrayFile(path, None, lambda _: _read(path, [*depths], str(path), is_table=True))
    return ArrayFile(
        path,
        [name for name, depth in depths.items() if depth is not None],
        lambda key: _read(path, [str(key)], array_name(path, key), is_table=False),
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


def _read(path: Path, names: list[str], what: str, *, is_table: bool) -> list[Part]:
    """Read columns, side by side for a table."""
    parts = unpack(_pieces(path, names, what, is_table=is_table), MOST_IN_MEMORY)
    if not parts:
        raise ConfigError(f"{what} has no rows; give a table with some")
    return refuse_differences(parts)


def _pieces(path: Path, names: list[str], what: str, *, is_table: bool) -> Iterator[Part]:
    """Read some rows of a group at a time."""
    pa, pq = import_reader("pyarrow", path), import_reader("pyarrow.parquet", path)
    # Otherwise all of a group is in memory before its first rows are unpacked.
    options = {"buffer_size": BUFFER_BYTES, "pre_buffer": False}
    with as_value_errors("PyArrow"), pq.ParquetFile(path, **options) as file:
        for number in range(file.num_row_groups):
            about = file.metadata.row_group(number)
            n_bytes = _memory_of(about, names)
            check_memory(min(n_bytes, PIECE_BYTES), what)
            n_rows = max(1, PIECE_BYTES * about.num_rows // max(1, n_bytes))
            for batch in file.iter_batches(min(n_rows, MOST_ROWS), [number], names):
                columns = [_column(pa, batch, name, f"{path}[{name}]") for name in names]
                yield to_part(np.stack(columns, 1) if is_table else columns[0], what)
    # PyArrow would keep what it no longer uses.
    pa.default_memory_pool().release_unused()


def _column(pa: Any, batch: Any, name: str, what: str) -> NDArray[Any]:
    column = batch.column(batch.schema.get_field_index(name))
    column.validate(full=True)
    return to_array(pa, column, what)


def _memory_of(group: Any, names: list[str]) -> int:
    """Bytes of the values of these columns in a group of rows, as numbers."""
    total = 0
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema in names or column.path_in_schema.split(".")[0] in names:
            total += column.num_values * SIZES.get(column.physical_type, 2)
    return total
