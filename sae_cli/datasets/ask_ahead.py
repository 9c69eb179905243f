"""Rows of a mapped file, asked for before they are read.

Where a page is missing, a system reads as much as 8 MiB around it, because a file is mostly read
from its beginning to its end. Of rows in a random order that is a thousand times what is wanted,
and one row after the other is waited for.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Where one of so many pages is wanted, it is faster to read all of them, one after the other.
SCATTERED_FROM = 8


def ask_for(values: Tensor, mapping: mmap.mmap, rows: NDArray[np.int64]) -> None:
    """Have the system begin to read these rows, all at once and little else.

    Args:
        values: ``(n, ...)``, in the mapping.
        rows: in rising order, at least one.
    """
    if not hasattr(mmap, "MADV_RANDOM") or not values.is_contiguous():
        return
    row_bytes = values[0].numel() * values.element_size()
    span = (int(rows[-1] - rows[0]) + 1) * row_bytes
    if len(rows) * max(row_bytes, mmap.PAGESIZE) * SCATTERED_FROM > span:
        mapping.madvise(mmap.MADV_NORMAL)
        return
    mapping.madvise(mmap.MADV_RANDOM)
    first = values.data_ptr() - _address(mapping)
    for start, end in _pages(first + rows * row_bytes, row_bytes):
        mapping.madvise(mmap.MADV_WILLNEED, start, end - start)


def _address(mapping: mmap.mmap) -> int:
    mapped: NDArray[Any] = np.frombuffer(mapping, np.uint8, 1)
    return int(mapped.ctypes.data)


def _pages(starts: NDArray[np.int64], row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where the pages of rows begin and where the rows end; rows on one page are one."""
    begins, ends = starts // mmap.PAGESIZE * mmap.PAGESIZE, starts + row_bytes
    apart = np.flatnonzero(begins[1:] > ends[:-1])
    yield from zip(
        begins[np.append(0, apart + 1)].tolist(), ends[np.append(apart, -1)].tolist(), strict=True
    )
