"""What a search makes best, as its folder tells it."""

from __future__ import annotations

from pathlib import Path

from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.layout import MAX_SWEEP_BYTES, SWEEP, holds_search
from sae_cli.run_folder.plain_yaml import read_yaml


def objectives_of(folder: Path) -> list[str]:
    """Give the metrics that the search of a folder makes best, the first one first.

    Returns:
        nothing where there is no search, or none that can be read: a page is made all the same.
    """
    if not holds_search(folder):
        return []
    try:
        search = read_yaml(folder / SWEEP, MAX_SWEEP_BYTES).get("search")
    except ConfigError:
        return []
    named = search.get("objectives") if isinstance(search, dict) else None
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
