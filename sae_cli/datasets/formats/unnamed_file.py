"""Files without a name, in the folder of the cache: they end with the process, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from io import FileIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import MACHINE_GAVE_OUT, MachineError
from sae_cli.core.text import in_units
from sae_cli.datasets.formats.cache_folder import cache_folder

# What others may need of a disk is left free.
LEFT_FREE = 1 << 30
# File systems say these where they cannot set room aside.
UNKNOWN = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
AS_IT_IS = "save it as .npy or .safetensors, which stay on disk as they are"
ELSEWHERE = f"give SAE_CACHE a folder on a disk with room, or {AS_IT_IS}"


class NoRoom(NamedTuple):
    """Why there is no room on the disk of the cache.

    Attributes:
        why: a part of a sentence.
        gave_out: whether the system refused what it had said it has, as quotas do.
        mend: what to do.
    """

    why: str
    gave_out: bool = False
    mend: str = ELSEWHERE


def open_unnamed(n_bytes: int, in_passing: int = 0) -> FileIO | NoRoom:
    """Open a file, and set room aside in it.

    Args:
        n_bytes: of room; what of it was not written is to be cut off.
        in_passing: bytes that other such files may take meanwhile.
    """
    folder = cache_folder()
    if folder is None:
        return NoRoom("this user has no folder for a cache")
    with contextlib.ExitStack() as opened:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            about = os.statvfs(folder)
            free = max(0, about.f_bavail * about.f_frsize - LEFT_FREE)
            if n_bytes + in_passing > free:
                return NoRoom(
                    f"the disk of {folder} has room for {in_units(free)}, and it takes "
                    f"{in_units(n_bytes + in_passing)} meanwhile"
                )
            # What a buffer keeps when the disk is full would be written again when it is closed.
            file = opened.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
            _set_aside(file, n_bytes)
        except OSError as error:
            gave_out = error.errno in MACHINE_GAVE_OUT
            return NoRoom(f"{folder} cannot be written to ({error.strerror})", gave_out)
        opened.pop_all()
        return file


def _set_aside(file: FileIO, n_bytes: int) -> None:
    """Have a disk that is full say so now, and not when a page of the file is written back."""
    if n_bytes and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise


def write_array(file: FileIO, array: NDArray[Any], what: str) -> None:
    """Write the values of an array, in the order of C.

    Raises:
        MachineError: as ``writing``.
    """
    left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    with writing(what):
        while left:
            left = left[file.write(left) :]


def read_back(file: FileIO, start: int, n_bytes: int, what: str) -> bytes:
    """Read what was written.

    Args:
        start: the first byte.

    Raises:
        MachineError: it is not there.
    """
    why = "less is there than was written"
    try:
        file.seek(start)
        found = file.read(n_bytes)
    except OSError as error:
        found, why = b"", error.strerror or why
    if len(found) < n_bytes:
        raise MachineError(f"{what} cannot be read back from {cache_folder()} ({why}); {ELSEWHERE}")
    return found


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Word the error of a disk that gives out while values are written.

    Args:
        what: names the array.

    Raises:
        MachineError: in place of OSError.
    """
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{what} cannot be unpacked to {cache_folder()} ({error.strerror}); {ELSEWHERE}"
        ) from None
