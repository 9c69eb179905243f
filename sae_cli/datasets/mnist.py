"""MNIST, Fashion-MNIST and KMNIST: 60 000 and 10 000 grey images of 28x28 in IDX files.

LeCun, Cortes and Burges 1998; Xiao, Rasul and Vollgraf 2017; Clanuwat et al. 2018. Local files
come first; torchvision downloads what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.download import download, not_found
from sae_cli.datasets.idx import read_idx
from sae_cli.datasets.splits import by_counts
from sae_cli.options import Count
from sae_cli.registry import ConfigError
from sae_cli.shapes import UNIT

FILES = {
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}


@dataclass(frozen=True)
class Source:
    """One member of the family.

    Attributes:
        torchvision: its class there, and its folder's name.
        sha256: of the unpacked files, in the order of ``FILES``, where known.
        system: a folder that a package of the operating system fills.
        hint: how else to get it.
    """

    torchvision: str
    sha256: tuple[str, ...] | None = None
    system: Path | None = None
    hint: str = ""


SOURCES = {
    "mnist": Source(
        "MNIST",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        hint="choose dataset=mnist_5k for 5 000 of them from a Python package",
    ),
    "fashion_mnist": Source(
        "FashionMNIST",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        system=Path("/usr/share/datasets/fashion-mnist"),
        hint="on Debian and Ubuntu, apt install dataset-fashion-mnist",
    ),
    "kmnist": Source("KMNIST"),
}


def _register(name: str) -> None:
    @DATASETS.register(name)
    def idx_images(*, root: str, download: bool, verify: bool, val: Count) -> Dataset:
        return read(SOURCES[name], name, Path(root), download, verify, val)


for _name in SOURCES:
    _register(_name)


def read(
    source: Source, name: str, root: Path, may_download: bool, verify: bool, val: int
) -> Dataset:
    """Training rows, the last ``val`` of the training file, and the test file.

    Args:
        source: which of the family.
        name: what to call it in an error.
        root: where to look for the files, and to download them to.
        may_download: ask torchvision for files that are nowhere.
        verify: compare with the published SHA-256 where it is known.
        val: number of validation examples.

    Raises:
        ConfigError: the files are nowhere and cannot be downloaded, or are damaged.
    """
    root = root.expanduser()
    layout = root / source.torchvision / "raw"
    folders = [root, layout, *([source.system] if source.system else [])]
    paths = _find(folders)
    if paths is None:
        if not may_download:
            raise not_found(name, list(FILES), folders, source.hint)
        download(name, source.torchvision, root, list(FILES), folders, source.hint)
        paths = _find([layout])
        if paths is None:
            raise not_found(name, list(FILES), folders, source.hint)
    known = source.sha256 if verify and source.sha256 else (None,) * len(FILES)
    images, labels, test_images, test_labels = (
        read_idx(path, n_dims, sha256)
        for path, n_dims, sha256 in zip(paths, FILES.values(), known, strict=True)
    )
    _check_counts(paths[1], images, labels)
    _check_counts(paths[3], test_images, test_labels)
    train, validation, _ = by_counts(torch.arange(len(images)), val, 0)
    return Dataset(
        train=Split(images.unsqueeze(1), train, labels.long(), 255.0),
        val=Split(images.unsqueeze(1), validation, labels.long(), 255.0),
        test=Split(
            test_images.unsqueeze(1), torch.arange(len(test_images)), test_labels.long(), 255.0
        ),
        interval=UNIT,
        n_classes=10,
        source=f"{name} from {paths[0].parent}",
    )


def _find(folders: list[Path]) -> list[Path] | None:
    """The four files, plain before gzipped, from the first folder that has them all."""
    for folder in folders:
        found = [
            next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None)
            for file in FILES
        ]
        if all(found):
            return [path for path in found if path is not None]
    return None


def _check_counts(path: Path, images: Tensor, labels: Tensor) -> None:
    if len(images) != len(labels) or len(images) == 0:
        raise ConfigError(f"{path} has {len(labels)} labels for {len(images)} images")
