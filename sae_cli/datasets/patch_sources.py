"""The pictures that patches are cut from, and the splits that each is cut for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.picture_files import (
    EXTENSIONS,
    PictureFiles,
    folders_in,
    list_pictures,
)
from sae_cli.datasets.split_folders import NAMES, describe_splits, find_split_folders

TRAIN, VAL, TEST = range(len(NAMES))
ALL_SPLITS = (TRAIN, VAL, TEST)


class Source(NamedTuple):
    """A picture, and the splits that it is cut for."""

    path: Path
    splits: tuple[int, ...]


class Sources(NamedTuple):
    """Pictures in order, and what a user may not expect of them, a text for each."""

    pictures: list[Source]
    about: list[str]


def own_pictures(folder: Path) -> Sources:
    """List the pictures in a folder, with or without sub-folders, and what each is cut for.

    Raises:
        ConfigError: no such folder, no pictures there or in a split's folder, or what
            ``list_pictures`` and ``find_split_folders`` refuse.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"dataset.path={folder} {what}; give a folder of pictures")
    files = list_pictures(folder)
    if not files.paths:
        raise ConfigError(
            f"dataset.path={folder} has no pictures ({', '.join(EXTENSIONS)}); put some there"
        )
    splits = find_split_folders(folder, folders_in(folder))
    if not splits:
        return Sources([Source(path, ALL_SPLITS) for path in files.paths], files.describe())
    return _of_split_folders(folder, splits, files)


def _of_split_folders(folder: Path, splits: dict[str, str], files: PictureFiles) -> Sources:
    """Give the pictures of each folder to its split; those that train also lend to the others."""
    lent = tuple(i for i, split in enumerate(NAMES) if split == "train" or split not in splits)
    pictures, counts = [], {}
    for number, split in enumerate(NAMES):
        if split in splits:
            own = [p for p in files.paths if p.is_relative_to(folder / splits[split])]
            if not own:
                raise ConfigError(
                    f"dataset.path={folder}: {splits[split]} has no pictures "
                    f"({', '.join(EXTENSIONS)}) of its own; put some there, or remove it"
                )
            pictures += [Source(p, lent if number == TRAIN else (number,)) for p in own]
            counts[split] = len(own)
    files.left_out.outside = len(files.paths) - len(pictures)
    return Sources(pictures, [describe_splits(splits, counts), *files.describe()])
