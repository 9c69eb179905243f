"""Parquet files, read into memory: a table of numbers, or a column of lists of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.columns import depth_of, to_array
from sae_cli.datasets.formats.opened import ArrayFile, array_name, refuse_differences
from sae_cli.datasets.formats.parts import as_value_errors, check_memory, import_reader, to_part
from sae_cli.datasets.rows import Part

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
    """Read columns, side by side for a table; each group of rows is a part."""
    pa, pq = import_reader("pyarrow", path), import_reader("pyarrow.parquet", path)
    parts = []
    with as_value_errors("PyArrow"), pq.ParquetFile(path) as file:
        check_memory(_memory_of(file.metadata, names), what)
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=names)
            columns = [_column(pa, group, name, f"{path}[{name}]") for name in names]
            parts.append(to_part(np.stack(columns, 1) if is_table else columns[0], what))
    if not parts:
        raise ConfigError(f"{what} has no rows; give a table with some")
    return refuse_differences(parts)


def _column(pa: Any, group: Any, name: str, what: str) -> NDArray[Any]:
    column = group.column(name).combine_chunks()
    # Older versions of PyArrow leave the one chunk in its list.
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    column.validate(full=True)
    return to_array(pa, column, what)


def _memory_of(metadata: Any, names: list[str]) -> int:
    """Bytes of the values of these columns, as numbers."""
    total = 0
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for number in range(columns.num_columns):
            column = columns.column(number)
            if column.path_in_schema in names or column.path_in_schema.split(".")[0] in names:
                total += column.num_values * SIZES.get(column.physical_type, 2)
    return total
