"""Values that had to be unpacked: in memory while they are few, and otherwise on disk, mapped."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, final

import numpy as np

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.cache_folder import cache_folder
from sae_cli.datasets.formats.opened import refuse_differences
from sae_cli.datasets.formats.parts import check_memory, to_part
from sae_cli.datasets.rows import Part

# An array of more bytes is mapped, as one is that needs no unpacking.
MOST_IN_MEMORY = 1 << 29
# What others may need of a disk is left free.
LEFT_FREE = 1 << 30


def unpack(parts: Iterable[Part], room: int) -> list[Part]:
    """Keep the first parts in memory, and move others that are there to a file, which is mapped.

    The file lies in the folder of the cache without a name, so that it ends with the process,
    however that ends. Parts that follow each other there become one. Where that disk has no room
    for a part, it stays in memory.

    Args:
        parts: taken one at a time, in the order of their rows; mapped ones stay what they are.
        room: how many bytes may stay in memory.

    Raises:
        ConfigError: the disk cannot be written to, or neither it nor the memory has room; or parts
            differ in type or shape.
    """
    kept: list[Part] = []
    moved: _Moved | None = None
    with contextlib.ExitStack() as files:
        for part in parts:
            n_bytes = part.values.nbytes
            is_mapped = part.mapping is not None
            fits = moved is None and n_bytes <= room
            if not (is_mapped or fits) and _has_room(n_bytes):
                if moved is None:
                    with _writing(part):
                        file = files.enter_context(tempfile.TemporaryFile(dir=cache_folder()))
                    moved = _Moved(part, file)
                moved.add(part)
                continue
            if moved is not None:
                kept.append(moved.mapped())
                moved, room = None, 0
            if not is_mapped:
                room -= n_bytes
                if not fits:
                    check_memory(n_bytes, part.what)
            kept.append(part)
        return kept if moved is None else [*kept, moved.mapped()]


def _has_room(n_bytes: int) -> bool:
    """Whether the disk of the cache has room for so much, and is there at all."""
    folder = cache_folder()
    try:
        if folder is None:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        return n_bytes + LEFT_FREE <= shutil.disk_usage(folder).free
    except OSError:
        return False


@final
class _Moved:
    """Parts of one type and shape on their way to the disk.

    Args:
        first: of the parts, which is still to be added.
        file: takes them; when it is closed, its mapping stays.
    """

    def __init__(self, first: Part, file: BinaryIO) -> None:
        self._first = first
        self._file = file
        self._rows = 0

    def add(self, part: Part) -> None:
        refuse_differences([self._first, part])
        with _writing(part):
            self._file.write(np.ascontiguousarray(part.values.numpy()).data)
            self._file.flush()
        self._rows += len(part.values)

    def mapped(self) -> Part:
        like = self._first.values.numpy()
        mapped = np.memmap(self._file, like.dtype, "r", 0, (self._rows, *like.shape[1:]))
        return to_part(mapped, self._first.what)


@contextlib.contextmanager
def _writing(part: Part) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{part.what} is too large to be kept in memory, and cannot be unpacked to "
            f"{cache_folder()} ({error.strerror}); give SAE_CACHE a folder on a disk with room, or "
            "save it as .npy or .safetensors, which need no unpacking"
        ) from None
