"""CIFAR-10: 50 000 + 10 000 colour photographs of 32x32 pixels, ten classes (Krizhevsky, 2009)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count
from sae_cli.datasets.dataset import DATASETS, Dataset
from sae_cli.datasets.formats.cache import decoded
from sae_cli.datasets.formats.download import (
    DownloadError,
    download_files,
    missing_files,
    root_folder,
)
from sae_cli.datasets.published_images import published_images

N_PER_FILE, CHANNELS, SIDE, N_CLASSES = 10_000, 3, 32, 10
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE

BINARY = "cifar-10-batches-bin"
BINARY_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
BINARY_TEST = ("test_batch.bin",)

PICKLED = "cifar-10-batches-py"
PICKLED_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")

Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@DATASETS.register("cifar10")
def cifar10(*, root: str, download: bool, val: Count) -> Dataset:
    """Validation: the last ``val`` of the 50 000 training images; test: the 10 000 test images.

    The folder without pickles is preferred; torchvision reads the other one, because it compares
    the MD5 of every file before it unpickles any.

    Raises:
        ConfigError: files are missing or damaged; ``val`` is too large.
    """
    folder = root_folder(root)
    if (folder / BINARY).is_dir():
        source = folder / BINARY
        training, testing = _binary(source, BINARY_TRAIN), _binary(source, BINARY_TEST)
    else:
        source = folder / PICKLED
        if not _whole(source, download):
            _fetch(folder, download)
        training, testing = _pickled(folder)
    return published_images(
        _tensors(training), _tensors(testing), val=val, n_classes=N_CLASSES, folder=source
    )


def _tensors(arrays: Arrays) -> tuple[Tensor, Tensor]:
    images, labels = arrays
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def _binary(folder: Path, names: Sequence[str]) -> Arrays:
    """uint8 ``(n, 3, 32, 32)`` and labels ``(n,)`` of files of (label, pixels) records."""
    records = np.empty((len(names), N_PER_FILE, RECORD_BYTES), np.uint8)
    expected = N_PER_FILE * RECORD_BYTES
    for name, part in zip(names, records, strict=True):
        path = folder / name
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing; put it there, or remove {folder} to use {PICKLED} or a "
                "download instead"
            )
        size = path.stat().st_size
        if size != expected:
            raise ConfigError(
                f"{path} has {size} bytes, expected {expected} ({N_PER_FILE} records of "
                f"{RECORD_BYTES}); get a fresh copy"
            )
        part.reshape(-1)[:] = np.fromfile(path, np.uint8, expected)
        if part[:, 0].max() >= N_CLASSES:
            raise ConfigError(
                f"{path} is damaged: it holds the label {part[:, 0].max()}, labels are 0 to "
                f"{N_CLASSES - 1}; get a fresh copy"
            )
    flat = records.reshape(-1, RECORD_BYTES)
    images = np.ascontiguousarray(flat[:, 1:]).reshape(-1, CHANNELS, SIDE, SIDE)
    return images, flat[:, 0].copy()


def _whole(folder: Path, may_download: bool) -> bool:
    """Whether torchvision's files are all there; half of them may be completed by a download."""
    lacking = [name for name in PICKLED_FILES if not (folder / name).is_file()]
    if lacking and len(lacking) < len(PICKLED_FILES) and not may_download:
        raise ConfigError(
            f"dataset=cifar10: {folder} lacks {', '.join(lacking)}; put them there, or give "
            "dataset.download=true"
        )
    return not lacking


def _fetch(root: Path, may_download: bool) -> None:
    why, way = "dataset.download=false forbids a download", "give dataset.download=true"
    if may_download:
        try:
            download_files(root, PICKLED, PICKLED_FILES, _torchvision_download)
            return
        except DownloadError as error:
            why, way = f"the download failed ({error})", "try again with a network"
    wanted = [f"{BINARY} (with {', '.join(BINARY_TRAIN + BINARY_TEST)})", PICKLED]
    raise missing_files("cifar10", wanted, [root], [way], why)


def _torchvision_download(staging: Path) -> None:
    _unpickled(staging, train=False, download=True)


def _pickled(root: Path) -> tuple[Arrays, Arrays]:
    """Training and test arrays, as torchvision reads them; kept in the cache."""
    key = hashlib.sha256(b"CIFAR-10: training images and labels, test images and labels")
    for name in PICKLED_FILES:
        with (root / PICKLED / name).open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    flat = decoded(key.hexdigest(), lambda: _flat(*_torchvision_read(root))).values
    n_train, n_pixels = len(BINARY_TRAIN) * N_PER_FILE, CHANNELS * SIDE * SIDE
    training, testing = np.split(flat, [n_train * RECORD_BYTES])
    return _arrays(training, n_train * n_pixels), _arrays(testing, N_PER_FILE * n_pixels)


def _flat(training: Arrays, testing: Arrays) -> NDArray[np.uint8]:
    return np.concatenate([part.reshape(-1) for part in (*training, *testing)])


def _arrays(flat: NDArray[np.uint8], n_bytes: int) -> Arrays:
    """Images of so many bytes in all, and the labels behind them."""
    return flat[:n_bytes].reshape(-1, CHANNELS, SIDE, SIDE), flat[n_bytes:]


def _torchvision_read(root: Path) -> tuple[Arrays, Arrays]:
    """Training and test arrays, of files of the published MD5 only."""
    try:
        from torchvision.datasets import CIFAR10
        from torchvision.datasets.utils import check_integrity
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            f"{root / PICKLED} is read by torchvision, which cannot be imported "
            f"({' '.join(str(error).split())}); mend its installation, or put {BINARY} beside it"
        ) from None
    checksums = [*CIFAR10.train_list, *CIFAR10.test_list]
    checksums.append([CIFAR10.meta["filename"], CIFAR10.meta["md5"]])
    for name, md5 in checksums:
        path = root / PICKLED / name
        # torchvision checks again, and then says only that something is missing or corrupted.
        if not check_integrity(path, md5):
            raise ConfigError(
                f"{path} is not the published file: its MD5 is not {md5}; remove it and get a "
                "fresh copy"
            )
    return _unpickled(root, train=True), _unpickled(root, train=False)


def _unpickled(root: Path, *, train: bool, download: bool = False) -> Arrays:
    from torchvision.datasets import CIFAR10

    with warnings.catch_warnings():
        # The published pickles spell a dtype in a way that today's NumPy warns of.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        found = CIFAR10(str(root), train=train, download=download)
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
    return images, np.asarray(found.targets, np.uint8)
