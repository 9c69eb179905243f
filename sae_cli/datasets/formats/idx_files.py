"""Where the IDX files of a data set lie, under the names that they have in the wild."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sae_cli.core.errors import ConfigError

# What the name of an IDX file has in it, whatever the data set.
MARK = "-ubyte"


class Search(NamedTuple):
    """A folder, the files that it lacks, and IDX files there of unknown names."""

    folder: Path
    lacking: list[str]
    strange: list[str]
    has_some: bool


def search(folder: Path, names: Sequence[str]) -> Search:
    """Look for the files of these names, as MNIST's page spells them, in a folder.

    Raises:
        ConfigError: the folder cannot be read.
    """
    known = {spelled for name in names for spelled in _spellings(name)}
    lacking = [name for name in names if find_file(folder, name) is None]
    strange = [name for name in _files(folder) if MARK in name and name not in known]
    return Search(folder, lacking, strange, len(lacking) < len(names) or bool(strange))


def find_file(folder: Path, name: str) -> Path | None:
    """Find a file, plain or gzipped, also where a dot stands in the place of its second hyphen."""
    for spelled in _spellings(name):
        if (folder / spelled).is_file():
            return folder / spelled
    return None


def incomplete(dataset: str, found: Search, names: Sequence[str]) -> ConfigError:
    """Word the error for a folder that has some files, but not all, or others."""
    has = f" and has {', '.join(found.strange[:4])}" if found.strange else ""
    return ConfigError(
        f"dataset={dataset}: {found.folder} lacks {', '.join(found.lacking)} "
        f"(plain or .gz){has}; put them there, or give dataset.root=FOLDER that has all of "
        f"{', '.join(names)}"
    )


def _spellings(name: str) -> tuple[str, ...]:
    """Spell train-images-idx3-ubyte, and train-images.idx3-ubyte as it unpacks on some systems."""
    dotted = name.replace("-idx", ".idx")
    return (name, f"{name}.gz", dotted, f"{dotted}.gz")


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigError(f"{folder} cannot be read: {error.strerror}; mend it") from None
