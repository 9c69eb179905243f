"""Files that are mapped into memory, and what becomes of them while they are read.

A mapping shows what its file holds now, not what it held when it was mapped. Whoever reads one for
hours looks at the file from time to time.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sae_cli.core.errors import ConfigError, MachineError

# The same number on Linux, macOS and BSD; Python's mmap does not have it.
MAP_FIXED = 0x10
MEND = (
    "put it back as it was and resume the run, whose checkpoints are from before that, or begin "
    "anew"
)

_MAPPED: list[MappedFile] = []


class Look(NamedTuple):
    """What a file was like when it was looked at.

    Attributes:
        size, modified, changed: bytes, and the times that the system keeps, in nanoseconds.
        in_place: whether the path still leads to it.
    """

    size: int
    modified: int
    changed: int
    in_place: bool

    def differs(self, before: Look) -> bool:
        """Whether the file may have been written to since another look.

        Times are compared, so that a file of the same values may count as written to.
        """
        return self[:3] != before[:3]


@final
class MappedFile:
    """A file that is mapped, for as long as its array lives.

    Args:
        path: where the file was opened; its folder if it has no name.
        file: the open file.
        array: all of the mapping from ``offset`` on.
        named: whether others find the file, to write to it or to move it.

    Attributes:
        path: as given; another file may have come there since.
        first: what it was like when it was mapped.
    """

    def __init__(
        self, path: Path, file: BinaryIO, array: NDArray[Any], offset: int, *, named: bool
    ) -> None:
        self.path = path
        self._array = weakref.ref(array)
        # The path may lead elsewhere later; a descriptor stays with the file that is mapped.
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(array, os.close, self._descriptor)
        about = os.fstat(self._descriptor)
        self.first = Look(about.st_size, about.st_mtime_ns, about.st_ctime_ns, True)
        self._lost = False
        # Its links do not tell: a file that is unlinked on NFS keeps one, of a hidden name.
        self._named = named
        ahead = offset % mmap.ALLOCATIONGRANULARITY
        self._address, self._n_bytes = array.ctypes.data - ahead, array.nbytes + ahead

    @property
    def is_mapped(self) -> bool:
        return self._array() is not None

    @property
    def is_lost(self) -> bool:
        """Whether zeros are read in its place."""
        return self._lost

    def holds_one_of(self, addresses: Sequence[int]) -> bool:
        """Tell whether one of these addresses of memory, in order, lies in the mapping."""
        first = bisect_left(addresses, self._address)
        return first < len(addresses) and addresses[first] < self._address + self._n_bytes

    def look(self) -> Look:
        """Look at the file.

        Raises:
            ConfigError: it has become shorter, or was while a value was read.
            MachineError: a value could not be read, and nobody has changed the file.
        """
        about = self._stat()
        now = self.first._replace(size=about.st_size)
        if self._named:
            in_place = self._is_in_place(about)
            now = Look(about.st_size, about.st_mtime_ns, about.st_ctime_ns, in_place)
        if now.size < self.first.size:
            raise ConfigError(
                f"{self.path} became shorter while it was read ({now.size} bytes now, "
                f"{self.first.size} before); {MEND}"
            )
        if self._lost and now.differs(self.first):
            raise ConfigError(f"{self.path} was written to while it was read; {MEND}")
        if self._lost:
            raise self._unreadable("the file itself has not changed")
        return now

    def _stat(self) -> os.stat_result:
        try:
            return os.fstat(self._descriptor)
        except OSError as error:
            raise self._unreadable(error.strerror or "") from None

    def _unreadable(self, why: str) -> MachineError:
        return MachineError(
            f"{self.path} could not be read ({why}), as when a disk or a network fails; see to "
            "that, and resume the run, or begin anew"
        )

    def _is_in_place(self, about: os.stat_result) -> bool:
        try:
            return os.path.samestat(about, self.path.stat())
        except OSError:
            return False

    def has_shrunk(self) -> bool:
        """Tell whether there is less of the file than was mapped, or none that can be reached."""
        try:
            return os.fstat(self._descriptor).st_size < self.first.size
        except OSError:
            return True

    def replace_(self) -> bool:
        """Have zeros read in place of a file that cannot be; ``look`` raises from then on.

        Returns:
            whether the system did so.
        """
        self._lost = True
        flags = MAP_FIXED | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        replace = ctypes.CDLL(None).mmap
        replace.restype = ctypes.c_void_p
        replace.argtypes = [
            *(ctypes.c_void_p, ctypes.c_size_t),
            *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
        ]
        found = replace(self._address, self._n_bytes, mmap.PROT_READ, flags, -1, 0)
        return bool(found == self._address)


def map_array(
    path: Path,
    file: BinaryIO,
    dtype: DTypeLike,
    shape: tuple[int, ...],
    offset: int,
    order: Literal["C", "F"] = "C",
    *,
    named: bool = True,
) -> NDArray[Any]:
    """Map an array of an open file, read-only.

    Args:
        path: of the file.
        offset: of the array in the file, in bytes.
        named: whether others find the file.

    Raises:
        ValueError, OSError: the file is shorter.
    """
    array = np.memmap(file, dtype, "r", offset, shape, order)
    mapped = MappedFile(path, file, array, offset, named=named)
    _MAPPED.append(mapped)
    weakref.finalize(array, _MAPPED.remove, mapped)
    return array


def mapped_files() -> list[MappedFile]:
    """List the files that this process has mapped and still reads."""
    # A copy, because an array may end while its file is looked at.
    return [file for file in _MAPPED.copy() if file.is_mapped]
