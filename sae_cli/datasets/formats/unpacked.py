"""Packed arrays, unpacked: into memory while they are small, and otherwise into a mapped file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.bar import Bar
from sae_cli.core.errors import ConfigError, MachineError
from sae_cli.core.memory import free_memory
from sae_cli.core.text import in_units
from sae_cli.datasets.formats.cache_folder import cache_folder
from sae_cli.datasets.formats.mapped import map_array
from sae_cli.datasets.formats.npy import DEFLATE_MAX_RATIO
from sae_cli.datasets.formats.packed import Packed
from sae_cli.datasets.formats.parts import to_part
from sae_cli.datasets.formats.unnamed_file import (
    AS_IT_IS,
    NoRoom,
    open_unnamed,
    write_array,
    writing,
)
from sae_cli.datasets.rows import Part

# More than this is mapped, as an array is that needs no unpacking.
MOST_IN_MEMORY = 1 << 30
# Each array of a file begins at a multiple of this, where values of any type may.
ALIGNMENT = 64
# Whoever reads and trains has so much memory.
SMALL_STEP = 1 << 26


def unpack(found: Sequence[Part | Packed], what: str) -> list[Part]:
    """Unpack what is packed of an array: all in memory, or all in one file, which is mapped.

    The file is in the folder of the cache, has no name, and takes two descriptors. Nothing is
    written before there is known to be room for all.

    Args:
        found: the parts of the array; those that are not packed stay what they are.
        what: names it.

    Raises:
        ConfigError: neither memory nor disk has room for it, or it cannot be read.
        MachineError: the disk gives out.
    """
    packed = [one for one in found if isinstance(one, Packed)]
    n_bytes = sum(one.n_bytes for one in packed)
    beside = max((one.beside for one in packed), default=0)
    beside = beside if beside > SMALL_STEP else 0
    free = free_memory()
    fits = n_bytes + beside <= free
    if fits and n_bytes <= MOST_IN_MEMORY:
        return _in_memory(found)
    file = _room_for(packed, free)
    if not isinstance(file, NoRoom):
        with file:
            return _on_disk(found, file, what)
    if fits:
        return _in_memory(found)
    more = f" and takes {in_units(n_bytes + beside)} of memory meanwhile" if beside else ""
    error = MachineError if file.gave_out else ConfigError
    raise error(
        f"{what} unpacks to {in_units(n_bytes)}{more}, and {in_units(int(free))} of memory are "
        f"free; {file.why}; {file.mend}"
    )


def _room_for(packed: Sequence[Packed], free: float) -> FileIO | NoRoom:
    for one in packed:
        # A small file could fill a disk, which has more room than the memory.
        if one.n_bytes > DEFLATE_MAX_RATIO * one.file_bytes:
            return NoRoom(
                f"what is over {DEFLATE_MAX_RATIO} times as large as its file is not unpacked to "
                "disk",
                mend=AS_IT_IS,
            )
        if one.at_once > max(free, SMALL_STEP):
            return NoRoom(
                f"a piece of it takes {in_units(one.at_once)} of memory meanwhile", mend=AS_IT_IS
            )
    n_bytes = sum(one.n_bytes + ALIGNMENT for one in packed)
    return open_unnamed(n_bytes, max(one.in_passing for one in packed))


def _in_memory(found: Sequence[Part | Packed]) -> list[Part]:
    return [part for one in found for part in (one.read() if isinstance(one, Packed) else [one])]


class _Placed(NamedTuple):
    """Rows of an array in the file.

    Attributes:
        shape: without the first axis.
        start, end: in bytes.
    """

    packed: Packed
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int

    def is_like(self, other: _Placed) -> bool:
        """Whether rows that follow these are of their type and width."""
        return self.dtype == other.dtype and self.shape == other.shape


def _on_disk(found: Sequence[Part | Packed], file: FileIO, what: str) -> list[Part]:
    """Unpack into a file, one piece after the other; only its mapping stays open."""
    placed: list[Part | _Placed] = []
    n_bytes = sum(one.n_bytes for one in found if isinstance(one, Packed))
    options = {"unit": "B", "unit_scale": True, "disable": None}
    with Bar(total=n_bytes, desc="unpacking", **options) as bar:
        for one in found:
            if isinstance(one, Part):
                placed.append(one)
            elif not one.n_bytes:
                placed += one.read()
            else:
                placed += _write(one, file, bar)
    with writing(what):
        file.truncate()
        # Some file systems say only now that they are full.
        os.fsync(file.fileno())
    if not file.tell():
        return [one for one in placed if isinstance(one, Part)]
    mapped = map_array(cache_folder() or Path(), file, np.uint8, (file.tell(),), 0, named=False)
    return [one if isinstance(one, Part) else _part(one, mapped) for one in placed]


def _write(packed: Packed, file: FileIO, bar: Bar) -> list[Part | _Placed]:
    """Write the pieces of an array; those of one type and width that follow each other are one."""
    placed: list[Part | _Placed] = []
    first = file.seek(-file.tell() % ALIGNMENT, os.SEEK_CUR)
    for piece in packed.pieces():
        if not piece.nbytes:
            # Rows without columns are rows all the same, and refused beside others.
            placed.append(to_part(piece, packed.what))
            continue
        start = file.tell()
        if start + piece.nbytes > first + packed.n_bytes:
            raise ConfigError(
                f"{packed.what} unpacks to more than the {in_units(packed.n_bytes)} that it "
                "announces; save it again"
            )
        write_array(file, piece, packed.what)
        bar.update(piece.nbytes)
        rows = _Placed(packed, piece.dtype, piece.shape[1:], start, file.tell())
        before = placed[-1] if placed else None
        if isinstance(before, _Placed) and before.is_like(rows):
            placed[-1] = before._replace(end=rows.end)
        else:
            placed.append(rows)
    return placed


def _part(rows: _Placed, mapped: NDArray[np.uint8]) -> Part:
    flat = mapped[rows.start : rows.end].view(rows.dtype)
    shaped = rows.packed.shaped or (lambda flat: flat.reshape(-1, *rows.shape))
    return to_part(shaped(flat), rows.packed.what, within=mapped)
