"""Values that are not in their file as they are in memory: compressed ones, tables, and text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import MachineError
from sae_cli.datasets.formats.unnamed_file import NoRoom, open_unnamed, read_back, write_array
from sae_cli.datasets.rows import Part

# About so much is unpacked at a time where not all is.
PIECE_BYTES = 1 << 24


@dataclass(frozen=True)
class Packed:
    """An array that is still to be unpacked.

    Attributes:
        path, what: its file, and how messages name it.
        n_bytes: the most that it unpacks to.
        read: unpacks all of it, in memory.
        pieces: unpacks its rows in order, a few at a time, ``(rows, ...)`` of one type and width;
            raises what ``read`` does.
        in_passing: bytes of further files that ``pieces`` writes meanwhile.
        at_once: bytes of memory that the largest of its steps takes, where it is not a piece's.
        beside: bytes of memory that ``read`` takes besides the array, where they may be many.
        file_bytes: of the file.
        shaped: makes the array of the pieces, joined; None if they are its rows.
    """

    path: Path
    what: str
    n_bytes: int
    read: Callable[[], list[Part]]
    pieces: Callable[[], Iterator[NDArray[Any]]]
    in_passing: int = 0
    at_once: int = 0
    beside: int = 0
    file_bytes: int = 0
    shaped: Callable[[NDArray[Any]], NDArray[Any]] | None = None


def piece_rows(row_bytes: int) -> int:
    """Give how many rows of so many bytes are a piece, at least one."""
    return max(1, PIECE_BYTES // max(1, row_bytes))


class _Block(NamedTuple):
    start: int
    width: int
    row_bytes: int


def by_rows(
    blocks: Iterable[NDArray[Any]], n_rows: int, n_bytes: int, what: str
) -> Iterator[NDArray[Any]]:
    """Give pieces of rows of blocks of columns, which are side by side, by way of a file.

    Args:
        blocks: ``(n_rows, columns, ...)`` each, of one type.
        n_bytes: of all of them, which may be more than the memory.

    Raises:
        MachineError: the disk has no room.
    """
    file = open_unnamed(n_bytes)
    if isinstance(file, NoRoom):
        raise MachineError(f"{what} cannot be unpacked: {file.why}; {file.mend}")
    with file:
        placed: list[_Block] = []
        for block in blocks:
            placed.append(_Block(file.tell(), block.shape[1], block.nbytes // n_rows))
            write_array(file, block, what)
            dtype, rest = block.dtype, block.shape[2:]
            del block
        step = piece_rows(n_bytes // n_rows)
        for start in range(0, n_rows, step):
            rows = min(step, n_rows - start)
            read = [
                read_back(file, b.start + start * b.row_bytes, rows * b.row_bytes, what)
                for b in placed
            ]
            shaped = [
                np.frombuffer(values, dtype).reshape(rows, block.width, *rest)
                for values, block in zip(read, placed, strict=True)
            ]
            yield np.concatenate(shaped, axis=1)
