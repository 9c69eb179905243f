"""Files that are looked at first and read later: what is read has to be what was seen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sae_cli.core.errors import ConfigError


class Identity(NamedTuple):
    """What tells a file from another one, and from itself before it was written to.

    Attributes:
        device, number: where the system has it.
        modified: in nanoseconds, as the system keeps it.
    """

    device: int
    number: int
    n_bytes: int
    modified: int


def identity(path: Path) -> Identity:
    """Look at a file; raise OSError if it is not there."""
    about = path.stat()
    return Identity(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)


@contextlib.contextmanager
def unchanged(path: Path, seen: Identity) -> Iterator[None]:
    """Refuse a file that is not, before and after it is read, the one that was seen.

    Raises:
        ConfigError: it is another one. What a reader said of its bytes counts less.
        OSError: there is none.
    """
    _check(path, seen)
    try:
        yield
    except Exception:
        _check(path, seen)
        raise
    _check(path, seen)


def _check(path: Path, seen: Identity) -> None:
    if identity(path) != seen:
        raise ConfigError(
            f"{path} was replaced or written to while it was read; begin again once nothing "
            "writes to it"
        )
