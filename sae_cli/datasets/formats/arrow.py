"""Arrow files, as Hugging Face data sets and the cached activations of SAELens are; mapped.

A row of SAELens is one text: a list of tokens, each a list of numbers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.columns import depth_of, refuse_twice, to_array
from sae_cli.datasets.formats.mapped import map_array
from sae_cli.datasets.formats.opened import ArrayFile, array_name, refuse_differences
from sae_cli.datasets.formats.parts import as_value_errors, import_reader, to_part
from sae_cli.datasets.rows import Part

# A file of this beginning ends with a table of its batches; others are streams of batches.
MAGIC = b"ARROW1"
# PyArrow takes no memory for values that stay in the file.
MAX_ALLOCATED = 1 << 20
# Columns of two-dimensional arrays are marked so.
EXTENSION = b"ARROW:extension:name"
ARRAY_2D = b"datasets.features.features.Array2DExtensionType"


def open_arrow(path: Path) -> ArrayFile:
    """Open an Arrow file or stream; its only column of lists is meant where it has one.

    The tokens of all texts are the examples, if rows are two-dimensional arrays, as SAELens and
    Hugging Face's library mark them.

    Raises:
        ConfigError: no column holds numbers, or PyArrow is not installed.
        ValueError, OSError: the file is damaged.
    """
    pa = import_reader("pyarrow", path)
    with path.open("rb") as file:
        mapped = map_array(path, file, np.uint8, (os.fstat(file.fileno()).st_size,), 0)
    with as_value_errors("PyArrow"):
        batches = _batches(pa, mapped)
        schema = batches[0].schema if batches else pa.schema([])
        depths = {field.name: depth_of(pa, field.type) for field in schema}
    keys = [name for name, depth in depths.items() if depth is not None]
    if not keys:
        raise ConfigError(f"{path} has no rows of numbers; give a column of lists of numbers")
    lists = [name for name in keys if depths[name]]
    texts = [field.name for field in schema if _mark(pa, field) == ARRAY_2D]
    deep = [name for name in lists if (depths[name] or 0) > 1]
    meant = deep if len(deep) == 1 else lists

    def read(key: str | None) -> list[Part]:
        what = array_name(path, key)
        refuse_twice(schema.names, [str(key)], path)
        with as_value_errors("PyArrow"):
            arrays = [to_array(pa, batch.column(str(key)), what) for batch in batches if len(batch)]
        parts = [to_part(array, what, within=mapped) for array in arrays]
        return refuse_differences(parts)

    return ArrayFile(
        path,
        keys,
        read,
        default=meant[0] if len(meant) == 1 else None,
        axes="tokens" if deep == texts and len(texts) == 1 else None,
    )


def _mark(pa: Any, field: Any) -> Any:
    """Give the name of a column's own type, or None; a process may know the type or not."""
    if isinstance(field.type, pa.BaseExtensionType):
        return field.type.extension_name.encode()
    return (field.metadata or {}).get(EXTENSION)


def _batches(pa: Any, mapped: NDArray[np.uint8]) -> list[Any]:
    """Read the batches of rows; their values stay in the mapped file."""
    buffer = pa.py_buffer(mapped)
    if mapped[: len(MAGIC)].tobytes() == MAGIC:
        reader = pa.ipc.open_file(buffer)
        read = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        read = iter(pa.ipc.open_stream(buffer))
    batches, before = [], pa.total_allocated_bytes()
    for batch in read:
        if pa.total_allocated_bytes() - before > MAX_ALLOCATED:
            raise ValueError("its values are compressed, and would not stay in the file")
        batch.validate(full=True)
        batches.append(batch)
    return batches
