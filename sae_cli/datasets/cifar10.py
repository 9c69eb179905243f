"""CIFAR-10: 50 000 and 10 000 colour images of 32x32 (Krizhevsky 2009)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.download import download as fetch
from sae_cli.datasets.download import not_found
from sae_cli.datasets.splits import by_counts
from sae_cli.options import Count
from sae_cli.registry import ConfigError
from sae_cli.shapes import UNIT

BINARY = "cifar-10-batches-bin"
PICKLED = "cifar-10-batches-py"
TRAIN_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)]
TEST_FILES = ["test_batch.bin"]
RECORD = 1 + 3 * 32 * 32

Images = tuple[Tensor, Tensor]


@DATASETS.register("cifar10")
def cifar10(*, root: str, download: bool, val: Count) -> Dataset:
    """Training rows, the last ``val`` of the training files, and the test file.

    The binary version is read as bytes. Of the Python version only what torchvision has checked
    against its published digests is unpickled, by torchvision.

    Raises:
        ConfigError: the files are nowhere and cannot be downloaded, or are damaged.
    """
    base = Path(root).expanduser()
    folders = [base / BINARY, base / PICKLED]
    if folders[0].is_dir():
        (images, labels), (test_images, test_labels) = (
            _binary(folders[0], names) for names in (TRAIN_FILES, TEST_FILES)
        )
        source = folders[0]
    else:
        if not folders[1].is_dir():
            wanted = ["data_batch_1 to data_batch_5", "test_batch"]
            if not download:
                raise not_found("cifar10", wanted, folders, "")
            fetch("cifar10", "CIFAR10", base, wanted, folders, "")
        (images, labels), (test_images, test_labels) = (_pickled(base, t) for t in (True, False))
        source = folders[1]
    train, validation, _ = by_counts(torch.arange(len(images)), val, 0)
    return Dataset(
        train=Split(images, train, labels, 255.0),
        val=Split(images, validation, labels, 255.0),
        test=Split(test_images, torch.arange(len(test_images)), test_labels, 255.0),
        interval=UNIT,
        n_classes=10,
        source=f"cifar10 from {source}",
    )


def _binary(folder: Path, names: list[str]) -> Images:
    """Records of a label and 3x32x32 bytes."""
    parts = []
    for name in names:
        path = folder / name
        if not path.is_file():
            raise ConfigError(f"dataset=cifar10: {path} is missing")
        content = np.fromfile(path, np.uint8)
        if len(content) == 0 or len(content) % RECORD:
            raise ConfigError(
                f"{path} is damaged: {len(content)} bytes are no multiple of {RECORD}; replace it"
            )
        parts.append(content.reshape(-1, RECORD))
    records = torch.from_numpy(np.concatenate(parts))
    return records[:, 1:].reshape(-1, 3, 32, 32).contiguous(), records[:, 0].long()


def _pickled(root: Path, train: bool) -> Images:
    from torchvision.datasets import CIFAR10

    try:
        data = CIFAR10(root, train=train, download=False)
    except RuntimeError:
        raise ConfigError(
            f"{root / PICKLED} is incomplete or damaged (its digests are not the published ones); "
            "replace it, or remove it to download it again"
        ) from None
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return images, torch.tensor(data.targets)
