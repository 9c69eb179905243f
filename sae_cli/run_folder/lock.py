"""A lock, so that one process at a time works in a folder.

The folder itself is locked, so that a removed ``.lock`` lets nobody else in. Where a file system
locks no folders (NFS), the file ``.lock`` alone is the lock; it also says whose the lock is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import starmap
from pathlib import Path

from sae_cli.core.errors import MACHINE_GAVE_OUT, ConfigError, InUseError, MovedError
from sae_cli.core.text import short

LOCK = ".lock"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# NFS locks only what is open for writing, which no folder can be.
NO_FOLDER_LOCKS = {*NO_LOCKS, errno.EBADF, errno.EINVAL, errno.EISDIR}
# A lock is tried several times, because is_locked holds it for an instant.
TRIES, PAUSE_SECONDS = 5, 0.05
# What must stay in its place while this process has the lock of a folder.
_HELD: dict[Path, list[tuple[Path, os.stat_result]]] = {}


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock the folder, an absolute path; it is made if absent.

    The system frees the lock when the process ends, however it ends; a file that is left behind
    means nothing.

    Raises:
        InUseError: another process has it.
        ConfigError: it cannot be written to, or its file system has no locks.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            place = stack.enter_context(_opened(folder, os.O_RDONLY | os.O_DIRECTORY))
            has_folder = _try_lock(folder, place, NO_FOLDER_LOCKS)
            file = stack.enter_context(_lock_file(folder))
        except OSError as error:
            if error.errno in MACHINE_GAVE_OUT:
                error.filename = error.filename or str(folder)
                raise
            raise ConfigError(
                f"cannot write into {folder}: {error.strerror}; choose another folder with "
                "hydra.run.dir= (a sweep: hydra.sweep.dir=)"
            ) from None
        _HELD[folder] = [(folder, os.fstat(place))]
        if not has_folder:
            _HELD[folder].append((folder / LOCK, os.fstat(file)))
        try:
            # Another process may have removed the folder after it was opened here.
            check_in_place(folder)
            _sign(folder, file)
            yield
        finally:
            del _HELD[folder]
            with suppress(OSError):
                if os.path.samestat(os.fstat(file), (folder / LOCK).stat()):
                    (folder / LOCK).unlink()


def check_in_place(path: Path) -> None:
    """Raise MovedError if a folder that this process has locked is no longer where it was.

    What is written to ``path``, in that folder, would come into another's.
    """
    within = f"{path}{os.sep}"
    # The folder of a job is locked after that of its sweep, and is the one to name.
    for folder, places in reversed(_HELD.items()):
        if within.startswith(f"{folder}{os.sep}") and not all(starmap(_is_in_place, places)):
            raise MovedError(
                f"{short(folder)} is no longer the folder that this process works in (it was "
                "moved, removed or replaced); nothing more is written; sae-train resume= "
                "resumes the run where it is now"
            )


def _is_in_place(place: Path, then: os.stat_result) -> bool:
    try:
        return os.path.samestat(then, place.stat())
    except OSError:
        return False


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in the folder."""
    for path, flags in ((folder, os.O_RDONLY | os.O_DIRECTORY), (folder / LOCK, os.O_RDONLY)):
        try:
            with _opened(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK) as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            continue
    return False


def owner(folder: Path) -> int | None:
    """Give the number of the process of this machine that is at work in the folder, if any."""
    if not is_locked(folder):
        return None
    try:
        about = json.loads((folder / LOCK).read_text())
        return int(about["pid"]) if about["host"] == socket.gethostname() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _lock_file(folder: Path) -> Iterator[int]:
    """Open the file of the lock, and lock it."""
    file = folder / LOCK
    while True:
        with _opened(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK) as descriptor:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                raise ConfigError(f"{file} is a pipe, a device or a hard link; remove it")
            if not _try_lock(folder, descriptor, NO_LOCKS):
                raise ConfigError(
                    f"{folder} is on a file system without locks, where two runs could write into "
                    "one folder; choose a folder on another disk"
                )
            # The process that had the lock may have removed the file after it was opened here.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    yield descriptor
                    return


def _try_lock(folder: Path, descriptor: int, without: set[int]) -> bool:
    """Lock what is open; tell whether its file system can (``without``: errors if it cannot).

    Raises:
        InUseError: another process has the lock.
    """
    for tries in range(TRIES, 0, -1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if tries == 1:
                raise InUseError(_in_use(folder)) from None
            time.sleep(PAUSE_SECONDS)
        except OSError as error:
            if error.errno in without:
                return False
            raise
    return False


def _sign(folder: Path, descriptor: int) -> None:
    """Write into the file of the lock whose it is."""
    about = {"pid": os.getpid(), "host": socket.gethostname()}
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode(), 0)
    except OSError as error:
        error.filename = str(folder / LOCK)
        raise


def _in_use(folder: Path) -> str:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with _opened(folder / LOCK, flags) as descriptor:
            about = json.loads(os.pread(descriptor, 1000, 0))
        who = f"process {int(about['pid'])} on {about['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return f"{short(folder)} is in use by {who}; wait for it to end, or stop it"
