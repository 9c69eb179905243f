"""Paths as people write them."""

from __future__ import annotations

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
