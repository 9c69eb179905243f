"""A lock, so that one process at a time works in a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sae_cli.core.errors import MACHINE_GAVE_OUT, ConfigError, InUseError
from sae_cli.core.text import short

LOCK = ".lock"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# A lock is tried several times, because is_locked holds it for an instant.
TRIES, PAUSE_SECONDS = 5, 0.05


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock the folder; it is made if absent.

    The system frees the lock when the process ends, however it ends; a file that is left behind
    means nothing.

    Raises:
        InUseError: another process has it.
        ConfigError: it cannot be written to, or its file system has no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder, TRIES)
    except OSError as error:
        if error.errno in MACHINE_GAVE_OUT:
            raise
        raise ConfigError(
            f"cannot write into {folder}: {error.strerror}; choose another folder with "
            "hydra.run.dir= (a sweep: hydra.sweep.dir=)"
        ) from None
    try:
        about = {"pid": os.getpid(), "host": socket.gethostname()}
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(about).encode(), 0)
        except OSError as error:
            error.filename = str(folder / LOCK)
            raise
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in the folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
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


def _acquire(folder: Path, tries: int) -> int:
    """Open the file of the lock and lock it."""
    file = folder / LOCK
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The process that had the lock may have removed the file after it was opened here.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
    except BlockingIOError:
        if tries == 1:
            owner = os.pread(descriptor, 1000, 0).decode(errors="replace")
            os.close(descriptor)
            raise InUseError(_in_use(folder, owner)) from None
        time.sleep(PAUSE_SECONDS)
        tries -= 1
    except OSError as error:
        os.close(descriptor)
        if error.errno not in NO_LOCKS:
            raise
        raise ConfigError(
            f"{folder} is on a file system without locks, where two runs could write into one "
            "folder; choose a folder on another disk"
        ) from None
    os.close(descriptor)
    return _acquire(folder, tries)


def _in_use(folder: Path, owner: str) -> str:
    try:
        about = json.loads(owner)
        who = f"process {int(about['pid'])} on {about['host']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return f"{short(folder)} is in use by {who}; wait for it to end, or stop it"
