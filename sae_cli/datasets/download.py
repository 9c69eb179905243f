"""torchvision's downloads, and what to say when files are nowhere."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

from sae_cli.registry import ConfigError


def download(
    name: str, torchvision_class: str, root: Path, files: list[str], folders: list[Path], hint: str
) -> None:
    """Let torchvision fetch a data set into its own layout under ``root``, with its progress.

    Raises:
        ConfigError: it cannot; folders that it made are gone again.
    """
    from torchvision import datasets

    absent = [path for path in (root, *_parents(root)) if not path.exists()]
    try:
        getattr(datasets, torchvision_class)(root, download=True)
    except (OSError, RuntimeError, URLError) as error:
        _remove_empty(root, absent)
        # What comes before the list of mirrors that were tried.
        reason = " ".join(str(error).split()).partition(": Tried")[0][:200]
        raise not_found(name, files, folders, hint, f"; the download failed: {reason}") from None


def not_found(
    name: str, files: list[str], folders: list[Path], hint: str, failed: str = ""
) -> ConfigError:
    """The error that says which files were looked for where, and the ways to get them."""
    ways = [f"put them into {folders[0]}", "set dataset.root=FOLDER", *([hint] if hint else [])]
    ways.append("try again with a network" if failed else "set dataset.download=true")
    return ConfigError(
        f"dataset={name}: {', '.join(files)} (or .gz) were looked for in "
        f"{', '.join(map(str, folders))}{failed}; {'; or '.join(ways)}"
    )


def _parents(path: Path) -> list[Path]:
    return list(path.absolute().parents)


def _remove_empty(root: Path, absent: list[Path]) -> None:
    """Folders below ``root`` that hold nothing, and those above it that were not there before."""
    if root.is_dir():
        for path in sorted(root.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    for path in absent:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
