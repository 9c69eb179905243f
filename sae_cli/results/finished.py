"""Whether a run has finished, and what it has left is whole."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.files import read_file
from sae_cli.run_folder.layout import MODEL, read_whole_metrics, status_of


def has_finished(folder: Path) -> bool:
    """Tell whether nothing is left to do for a run: what was lost since can be made again."""
    return status_of(folder) == "finished" and _metrics_are_whole(folder) and _model_opens(folder)


def _metrics_are_whole(folder: Path) -> bool:
    try:
        read_whole_metrics(folder)
    except ConfigError:
        return False
    return True


def _model_opens(folder: Path) -> bool:
    """Tell whether the model's header fits the size of its file."""
    try:
        read_file(folder / MODEL, 0)
        with safe_open(folder / MODEL, "pt"):
            return True
    except (SafetensorError, OSError, ValueError):
        return False
