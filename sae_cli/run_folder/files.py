"""How files of a run folder are written and read: whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError

TEMPORARY = ".tmp"


def check_links(folder: Path) -> None:
    """Raise ConfigError for a link in a run folder, and for a pipe or a device: to open one may
    wait for ever."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            refuse_link(path)
            if not (path.is_file() or path.is_dir()):
                raise ConfigError(f"{path} is neither a file nor a folder; remove it")


def refuse_link(path: Path) -> None:
    """Raise ConfigError for a link: what is written to it would be written elsewhere."""
    if path.is_symlink():
        raise ConfigError(f"{path} is a link, which no run makes; put the file itself there")


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, rename: readers see the old file or the new one.

    Raises:
        OSError: the disk is full, for one; what was there before stays.
    """
    with written_beside(target, content) as temporary:
        temporary.replace(target)


@contextmanager
def written_beside(target: Path, content: bytes) -> Iterator[Path]:
    """The content in a temporary file, on disk, to be renamed; so is the folder's entry then."""
    target.parent.mkdir(exist_ok=True)
    # The process in the name, since the jobs of a sweep may write its results at the same time.
    temporary = target.with_name(f"{target.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        error.filename = error.filename or f"{target} ({len(content):,} bytes)"
        raise
    with _opened(target.parent) as folder:
        os.fsync(folder)


def append_line(target: Path, line: str) -> None:
    """One more line of a text."""
    try:
        with target.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line + "\n")
    except OSError as error:
        error.filename = error.filename or str(target)
        raise


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run folder.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} cannot be read (it holds no keys)")
    return content


def unreadable(path: Path, error: Exception) -> ConfigError:
    """The error for a file that is damaged, or not there."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ConfigError(f"{path} cannot be read ({' '.join(text.split())})")


def as_json(content: Mapping[str, Any], indent: int | None = 2) -> str:
    """JSON knows no NaN and no infinity: they become null."""
    return json.dumps(_finite(content), indent=indent)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
