"""Pictures in folders of classes, path/CLASS/x.png, or path/SPLIT/CLASS/x.png."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.formats.picture_files import (
    EXTENSIONS,
    folders_in,
    list_pictures,
)
from sae_cli.datasets.split_folders import find_split_folders


class ClassFolders(NamedTuple):
    """The pictures in folders of classes.

    Attributes:
        classes: the names of the folders; one empty name where those of splits hold no folders.
        paths: the pictures of the first split, class by class, then those of the next.
        labels: the number of each picture's class.
        splits: the names of the folders of the splits; empty where there are none.
        counts: the number of pictures in each of these; all are in "train" where there are none.
        about: what a user may not expect, a text for each.
    """

    classes: list[str]
    paths: list[Path]
    labels: list[int]
    splits: dict[str, str]
    counts: dict[str, int]
    about: list[str]


def list_class_folders(folder: Path) -> ClassFolders:
    """List classes and pictures in alphabetical order, the same on every machine.

    Raises:
        ConfigError: no such folder, no classes, a class without pictures, classes that the
            training split lacks, or what ``list_pictures`` and ``find_split_folders`` refuse.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"dataset.path={folder} {what}; give the folder of the class folders")
    names = folders_in(folder)
    if not names:
        raise ConfigError(
            f"dataset.path={folder} has no class folders; put the pictures into one sub-folder per "
            "class (a single one will do)"
        )
    splits = find_split_folders(folder, names)
    files = list_pictures(folder)
    tops = [folder / name for name in splits.values()] or [folder]
    classes = folders_in(tops[0]) or [""]
    paths: list[Path] = []
    labels: list[int] = []
    counts = {}
    for split, top in zip(splits or ["train"], tops, strict=True):
        if top != tops[0]:
            _check_classes(folder, top.name, classes, tops[0].name)
        groups = _group(top, classes, files.paths)
        _check_groups(folder, top, groups, trains=top == tops[0])
        for label, group in enumerate(groups.values()):
            paths += group
            labels += [label] * len(group)
        counts[split] = sum(map(len, groups.values()))
    files.left_out.outside = len(files.paths) - len(paths)
    return ClassFolders(classes, paths, labels, splits, counts, files.describe())


def _group(top: Path, classes: list[str], paths: list[Path]) -> dict[str, list[Path]]:
    """Sort out the pictures below the folders of the classes, or all below ``top`` if none have."""
    groups: dict[str, list[Path]] = {name: [] for name in classes}
    for path in paths:
        if path.is_relative_to(top):
            first, *rest = path.relative_to(top).parts
            if "" in groups:
                groups[""].append(path)
            elif rest and first in groups:
                groups[first].append(path)
    return groups


def _check_groups(folder: Path, top: Path, groups: dict[str, list[Path]], *, trains: bool) -> None:
    """Refuse a class that has nothing to train, and a split that has nothing at all."""
    empty = [top / name for name, group in groups.items() if not group]
    if empty and (trains or len(empty) == len(groups)):
        what = f"the class folder {empty[0].relative_to(folder)}" if trains else f"{top.name}"
        raise ConfigError(
            f"dataset.path={folder}: {what} has no pictures "
            f"({', '.join(EXTENSIONS)}) of its own; put some there, or remove it"
        )


def _check_classes(folder: Path, split: str, classes: list[str], training: str) -> None:
    """Refuse a split whose folders are not among those of the training split."""
    names = folders_in(folder / split)
    strange = [name for name in names if name not in classes]
    if strange or (not names and classes != [""]):
        what = f"{split}/{strange[0]}" if strange else f"a {split} without class folders"
        raise ConfigError(
            f"dataset.path={folder} has {what}, and {training} has the classes "
            f"{', '.join(classes) or 'of no folders'}; give both the same class folders, or give "
            f"dataset.path={folder / training}"
        )
