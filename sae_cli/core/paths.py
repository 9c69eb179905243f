"""Paths as people write them."""

from __future__ import annotations

import glob
from pathlib import Path

from sae_cli.core.errors import ConfigError


def open_home(given: str | Path) -> Path:
    """Make a path in which ``~`` and ``~name`` at its beginning are home folders.

    Raises:
        ConfigError: nobody of that name has one.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError:
        name = Path(given).parts[0]
        raise ConfigError(
            f"{given}: {name} is not the home folder of anybody here; give the whole path, or "
            f"./{name} for a folder of that name"
        ) from None


def full_path(given: str | Path) -> Path:
    """Make a path absolute, its home folder opened.

    Raises:
        ConfigError: as ``open_home``.
    """
    return open_home(given).absolute()


def full_pattern(given: str) -> str:
    """Make a pattern of paths absolute; the current folder's own brackets stand for themselves.

    Raises:
        ConfigError: as ``open_home``.
    """
    path = open_home(given)
    return str(path if path.is_absolute() else Path(glob.escape(str(Path.cwd())), path))
