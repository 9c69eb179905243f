"""The folders train, val and test above a user's pictures, where these are split already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sae_cli.core.errors import ConfigError

# The three splits, in the order that they are stored in, and the names of their folders.
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
ALL_NAMES = ", ".join(name for names in NAMES.values() for name in names)


def find_split_folders(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Map splits to those of the folders ``names`` in ``folder`` that hold them; empty if none do.

    A folder of such a name beside others, or alone, may be anything, such as a class of its own.

    Raises:
        ConfigError: two or more folders have names of splits, and they cannot be the splits,
            because others lie beside them, none trains, or two are for the same purpose.
    """
    found = {
        split: [name for name in names if name.lower() in known] for split, known in NAMES.items()
    }
    named = [name for those in found.values() for name in those]
    if len(named) < 2:
        return {}
    others = [name for name in names if name not in named]
    twice = [those for those in found.values() if len(those) > 1]
    if others or twice or not found["train"]:
        why = (
            f"beside {', '.join(others)}"
            if others
            else f"with {' and '.join(twice[0])} for the same purpose"
            if twice
            else "and none to train"
        )
        raise ConfigError(
            f"dataset.path={folder} has folders named as splits are ({', '.join(named)}), {why}; "
            "leave one folder for each of train, val and test there and nothing else, or give "
            f"dataset.path=FOLDER of one of them, or rename them (names of splits: {ALL_NAMES})"
        )
    return {split: those[0] for split, those in found.items() if those}


def describe_splits(folders: dict[str, str], counts: dict[str, int]) -> str:
    """Word which folder is which split, and which are made of the training pictures instead."""
    if not folders:
        return ""
    own = ", ".join(f"{counts[split]} {split}" for split in NAMES if split in folders)
    drawn = [split for split in NAMES if split not in folders]
    rest = f" ({' and '.join(drawn)} out of {folders['train']})" if drawn else ""
    return f"the splits are its folders {', '.join(folders.values())}: {own}{rest}"
