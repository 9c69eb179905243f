"""Files of a run folder: written and read whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from sae_cli.core.company import wait_for
from sae_cli.core.errors import ConfigError
from sae_cli.core.text import say
from sae_cli.run_folder.lock import check_in_place

TEMPORARY = ".tmp"
# File systems without a flush of folders say these.
NO_FLUSH = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def check_links(folder: Path) -> None:
    """Raise ConfigError for a link in a run folder, or for a pipe or device, which may block."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                check_links(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                refuse_link(Path(entry.path))
                raise ConfigError(f"{entry.path} is neither a file nor a folder; remove it")


def refuse_link(path: Path) -> None:
    """Raise ConfigError for a link, because to write to it is to write elsewhere."""
    if path.is_symlink():
        raise ConfigError(f"{path} is a link, which no run makes; put the file itself there")


def refuse_hard_link(path: Path, about: os.stat_result) -> None:
    """Raise ConfigError for a file with two names that is written in place, as for a link."""
    if about.st_nlink > 1:
        raise ConfigError(
            f"{path} is a hard link, which no run makes; put a copy of the file itself there"
        )


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, rename: readers see the old file or the new one.

    Raises:
        OSError: the disk is full, for example; the old file stays.
        MovedError: as ``check_in_place``.
    """
    with write_beside(target, content) as temporary:
        wait_for(partial(temporary.replace, target))


def write_new_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder of these files; if that fails, it is not left there.

    Args:
        files: name -> content.

    Raises:
        ConfigError: something of that name is there already, or no folder can be made there.
        OSError: the disk is full, for example.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(f"{folder} is there already; give a folder that is not") from None
    try:
        for name, content in files.items():
            write_atomically(folder / name, content)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def write_beside(target: Path, content: bytes) -> Iterator[Path]:
    """Yield a temporary file that is already on disk; once the caller renamed it, sync the folder.

    Raises:
        OSError: the disk is full, for example; the temporary file is removed.
        MovedError: as ``check_in_place``.
    """
    check_in_place(target)
    target.parent.mkdir(exist_ok=True)
    # The name has the process in it, because jobs of a sweep may write its results at once.
    temporary = target.with_name(f"{target.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            wait_for(partial(os.fsync, file.fileno()))
        check_in_place(target)
        yield temporary
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        if error.filename in (None, str(temporary)):
            error.filename = f"{target} ({len(content):,} bytes)"
        raise
    _sync_folder(target.parent)


def overwrite(target: Path, content: bytes) -> None:
    """Write over a small file, in the room that it has: the last resort on a full disk.

    A kill in between may leave half of it, unlike ``write_atomically``.

    Raises:
        OSError: not even that is possible.
        MovedError: as ``check_in_place``.
    """
    check_in_place(target)
    with open(target, "r+b", opener=_open_no_link) as file:
        refuse_hard_link(target, os.fstat(file.fileno()))
        file.write(content)
        file.truncate()


def remove_temporaries(folder: Path) -> None:
    """Remove the files of a process that was killed while it wrote them beside their targets."""
    for file in folder.glob(f"*{TEMPORARY}"):
        file.unlink()


def append_line(target: Path, line: str) -> None:
    """Add a line to a text file.

    Raises:
        OSError: the disk is full, for example.
        ConfigError: it is a link.
        MovedError: as ``check_in_place``.
    """
    check_in_place(target)
    try:
        with open(
            target, "a", encoding="utf-8", errors="backslashreplace", opener=_open_no_link
        ) as file:
            refuse_hard_link(target, os.fstat(file.fileno()))
            file.write(line + "\n")
    except OSError as error:
        refuse_link(target)
        error.filename = error.filename or str(target)
        raise


def read_file(path: Path, max_bytes: int = -1) -> bytes:
    """Read a file, or the first bytes of it; do not wait where there is a pipe in its place.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a pipe or a device.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a file")
        return file.read(max_bytes)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run folder.

    Raises:
        ConfigError: it cannot be read, or does not hold keys.
    """
    try:
        content = json.loads(read_file(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise read_error(path, error) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} cannot be read (it holds no keys)")
    return content


def read_error(path: Path, error: Exception) -> ConfigError:
    """Word the error for a file that is damaged or missing."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError(f"{path} cannot be read ({' '.join(text.split())})")


def as_json(content: Mapping[str, Any], indent: int | None = 2) -> str:
    """Write JSON, with null for NaN and infinity, which it does not have."""
    return json.dumps(_finite(content), indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _open_no_link(path: str, flags: int) -> int:
    """Open a file to write into it; neither follow a link nor wait for the reader of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _sync_folder(folder: Path) -> None:
    """Flush the names of a folder's files to disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        wait_for(partial(os.fsync, descriptor))
    except OSError as error:
        if error.errno not in NO_FLUSH:
            error.filename = str(folder)
            raise
        _say_no_flush(os.fstat(descriptor).st_dev)
    finally:
        os.close(descriptor)


@cache
def _say_no_flush(device: int) -> None:
    """Say it once for a device."""
    say(
        "this file system cannot flush folders to disk; a power failure may take the newest files "
        "of the run, which then resumes from an earlier checkpoint"
    )
