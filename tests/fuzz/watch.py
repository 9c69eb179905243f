"""A watch, by Python's audit events, over what reading must not do; and the memory it took."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# compile and exec are not here, because late imports and dataclasses raise them too.
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.kill"),
    *("subprocess.", "socket.", "pickle.", "ctypes.dlopen", "urllib.", "shutil."),
)
# These events name paths, and are harmless inside the folders of the tests.
CHANGING = (
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate"),
    *("os.chmod", "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_allowed: list[Path] | None = None
_seen: list[str] = []


@contextmanager
def watch(*folders: Path) -> Iterator[list[str]]:
    """Yield the list of the block's forbidden events; ``folders`` may be written to."""
    global _allowed
    _seen.clear()
    # Otherwise the bytecode of a late import would count as written by the reader.
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _allowed = [folder.resolve() for folder in folders]
    try:
        yield _seen
    finally:
        _allowed = None
        sys.dont_write_bytecode = bytecode


def peak_bytes() -> int:
    """The most memory that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if event == "open":
        if arguments[2] & WRITING and not _inside(arguments[0], -1):
            _seen.append(f"{event}{arguments!r}")
    elif event in CHANGING:
        # The descriptor of a folder that the path is relative to comes last.
        last = arguments[-1]
        if not _inside(arguments[0], last if isinstance(last, int) else -1):
            _seen.append(f"{event}{arguments!r}")
    elif event.startswith(FORBIDDEN):
        _seen.append(f"{event}{arguments!r}")


def _inside(path: Any, folder: int) -> bool:
    if _allowed is None or not isinstance(path, (str, bytes, os.PathLike)):
        return False
    base = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""
    # Path.resolve would ask the disk each time.
    full = Path(os.path.abspath(os.path.join(base, os.fsdecode(path))))
    return any(full.is_relative_to(folder) for folder in _allowed)


# A hook cannot be taken out again; outside of `watch` it does nothing.
sys.addaudithook(_audit)
