"""Rows gathered from stored values of any number type: those of one tensor, or of many shards."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_cli.datasets.ask_ahead import ask_for

# PyTorch has few functions for these types, and fewer on a GPU, so that rows are gathered as
# integers of the same size.
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
# Pages of mapped files that have been read count as memory of this process until they are given
# back. For each row that is read, the system may map as much as this around it.
PAGES_BYTES = 1 << 21
MAX_RESIDENT_BYTES = 1 << 29
MOST_ROWS = MAX_RESIDENT_BYTES // PAGES_BYTES


class Part(NamedTuple):
    """Some of the rows of an array, on the host.

    Attributes:
        values: ``(n, ...)``, any number type.
        what: names them in messages.
        mapping: the mapped file that they lie in; None if they are in memory.
    """

    values: Tensor
    what: str
    mapping: mmap.mmap | None = None


class Shards:
    """The rows of several parts of one shape and type, one part after the other.

    However many rows of mapped files are taken, they keep little memory of the process.

    Args:
        large: whether the memory may not hold all of them, so that rows come from disk each time.

    Attributes:
        shape: ``(n, ...)``.
    """

    device = torch.device("cpu")

    def __init__(self, parts: Sequence[Part], *, large: bool = False) -> None:
        self.parts = tuple(parts)
        self._large = large
        self._ends = np.cumsum([len(part.values) for part in self.parts])
        first = self.parts[0].values
        self.dtype = first.dtype
        self.shape = torch.Size((int(self._ends[-1]), *first.shape[1:]))
        self._row_bytes = first[:1].numel() * first.element_size()
        self._resident = 0

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return len(self) * self._row_bytes

    def take_rows(self, rows: Tensor) -> Tensor:
        """Give these rows as a copy, in the stored type.

        Args:
            rows: int64 ``(n_rows,)``, on the CPU.
        """
        taken = torch.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        into, wanted = _array(taken), rows.numpy()
        # Neighbours are read one after the other, whatever order is asked for.
        order = wanted.argsort()
        pieces = np.split(order, wanted[order].searchsorted(self._ends[:-1]))
        if self._large:
            self._ask_for(wanted, pieces)
        for part, end, places in zip(self.parts, self._ends.tolist(), pieces, strict=True):
            for start in range(0, len(places), MOST_ROWS):
                some = places[start : start + MOST_ROWS]
                here = wanted[some] - (end - len(part.values))
                into[some] = _array(part.values)[here]
                self._count(part, int(here[-1] - here[0]), len(here))
        return taken

    def _ask_for(self, wanted: NDArray[np.int64], pieces: Sequence[NDArray[np.int64]]) -> None:
        """Ask for the rows of all parts, before those of the first are waited for."""
        for part, end, places in zip(self.parts, self._ends.tolist(), pieces, strict=True):
            if part.mapping is not None and len(places):
                ask_for(part.values, part.mapping, wanted[places] - (end - len(part.values)))

    def place_of(self, row: int) -> tuple[str, int]:
        """Give what holds a row, as messages name it, and the number of the row in there."""
        index = int(self._ends.searchsorted(row, side="right"))
        what = self.parts[index].what
        # A file may hold several parts, one after the other.
        first = next(i for i, part in enumerate(self.parts) if part.what == what)
        return what, row - (int(self._ends[first - 1]) if first else 0)

    def _count(self, part: Part, between: int, n_rows: int) -> None:
        """Count the pages that were mapped when so many rows of a part were read, in order."""
        if part.mapping is None:
            return
        most = n_rows * max(self._row_bytes, PAGES_BYTES)
        self._resident += min(between * self._row_bytes + PAGES_BYTES, most)
        if self._resident > MAX_RESIDENT_BYTES:
            self.release()

    def release(self) -> None:
        """Give back the pages of mapped files; the next reading finds them in the system's cache.

        Another thread may read at the same time, because the mappings stay.
        """
        self._resident = 0
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        for mapping in {id(part.mapping): part.mapping for part in self.parts}.values():
            if mapping is not None:
                mapping.madvise(mmap.MADV_DONTNEED)

    def map(self, change: Callable[[Tensor], Tensor]) -> Shards:
        """Give shards whose values are another view of these."""
        parts = [part._replace(values=change(part.values)) for part in self.parts]
        return Shards(parts, large=self._large)

    def to(self, device: torch.device) -> Tensor | Shards:
        """Copy all values to a device; on the CPU they stay where they are."""
        if device.type == "cpu":
            return self
        moved = torch.empty(self.shape, dtype=self.dtype, device=device)
        for part, end in zip(self.parts, self._ends.tolist(), strict=True):
            _signed(moved)[end - len(part.values) : end].copy_(_signed(part.values))
            self.release()
        return moved


Stored: TypeAlias = Tensor | Shards
"""Stored values ``(n, ...)``: one tensor, possibly memory-mapped, or shards."""


def tensors_of(stored: Stored) -> list[Tensor]:
    """Give the tensors that hold the values."""
    return [part.values for part in stored.parts] if isinstance(stored, Shards) else [stored]


def take_rows(stored: Stored, rows: Tensor) -> Tensor:
    """Give ``stored[rows]`` as a copy, in the stored type.

    Args:
        stored: ``(n, ...)``, possibly memory-mapped.
        rows: int64 ``(n_rows,)``, on the same device.
    """
    if isinstance(stored, Shards):
        return stored.take_rows(rows)
    return _signed(stored).index_select(0, rows).view(stored.dtype)


def slice_rows(stored: Stored, start: int, end: int) -> Tensor:
    """Give the rows from ``start`` up to ``end``, of shards as a copy."""
    if isinstance(stored, Shards):
        return stored.take_rows(torch.arange(start, min(end, len(stored))))
    return stored[start:end]


def _array(values: Tensor) -> NDArray[Any]:
    """View values on the host as NumPy's, which copies few rows on one thread.

    PyTorch's threads wait for each other at every copy, and far longer where others are at work.
    """
    return (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()


def _signed(values: Tensor) -> Tensor:
    return values.view(SIGNED.get(values.dtype, values.dtype))
