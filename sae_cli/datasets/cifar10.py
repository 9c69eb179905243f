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
from sae_cli.datasets.formats.cache import load_or_decode
from sae_cli.datasets.formats.download import (
    DownloadError,
    download_files,
    missing_files,
    root_folder,
)
from sae_cli.datasets.published_images import published_images

N_PER_FILE, CHANNELS, SIDE, N_CLASSES = 10_000, 3, 32, 10
RECORD_BYTES = 1 + CHANNELS * SIDE * SIDE
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

BINARY = "cifar-10-batches-bin"
BINARY_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
BINARY_TEST = ("test_batch.bin",)

PICKLED = "cifar-10-batches-py"
PICKLED_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")

Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@DATASETS.register("cifar10")
def cifar10(*, root: str, download: bool, val: Count) -> Dataset:
    """Read CIFAR-10; the last ``val`` of the 50 000 training images validate, the test file tests.

    The folder without pickles is preferred. Torchvision reads the other one, because it compares
    the MD5 of every file before it unpickles any.

    Raises:
        ConfigError: files are missing or damaged; ``val`` is too large.
    """
    folder = root_folder(root)
    if (folder / BINARY).is_dir():
        source = folder / BINARY
        training = _read_binary(source, BINARY_TRAIN)
        testing = _read_binary(source, BINARY_TEST)
    else:
        source = folder / PICKLED
        if not _is_complete(source, download):
            _fetch(folder, download)
        training, testing = _read_pickled(folder)
    return published_images(
        _tensors(training),
        _tensors(testing),
        val=val,
        n_classes=N_CLASSES,
        folder=source,
        class_names=CLASSES,
    )


def _tensors(arrays: Arrays) -> tuple[Tensor, Tensor]:
    images, labels = arrays
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def _read_binary(folder: Path, names: Sequence[str]) -> Arrays:
    """Read uint8 ``(n, 3, 32, 32)`` and labels ``(n,)`` from files of (label, pixels) records."""
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


def _is_complete(folder: Path, may_download: bool) -> bool:
    """Whether torchvision's files are all there; a download may add those that are missing."""
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
    _unpickle(staging, train=False, download=True)


def _read_pickled(root: Path) -> tuple[Arrays, Arrays]:
    """Read training and test arrays as torchvision does, and keep them in the cache."""
    key = hashlib.sha256(b"CIFAR-10: training images and labels, test images and labels")
    for name in PICKLED_FILES:
        with (root / PICKLED / name).open("rb") as file:
            key.update(hashlib.file_digest(file, "sha256").digest())
    flat = load_or_decode(
        key.hexdigest(), lambda: _flatten(*_torchvision_read(root)), _check_length
    ).values
    n_train, n_pixels = len(BINARY_TRAIN) * N_PER_FILE, CHANNELS * SIDE * SIDE
    training, testing = np.split(flat, [n_train * RECORD_BYTES])
    return _arrays(training, n_train * n_pixels), _arrays(testing, N_PER_FILE * n_pixels)


def _flatten(training: Arrays, testing: Arrays) -> NDArray[np.uint8]:
    return np.concatenate([part.reshape(-1) for part in (*training, *testing)])


def _check_length(flat: NDArray[np.uint8]) -> None:
    expected = (len(BINARY_TRAIN) + len(BINARY_TEST)) * N_PER_FILE * RECORD_BYTES
    if len(flat) != expected:
        raise ConfigError(f"the entry of the cache has {len(flat)} bytes, expected {expected}")


def _arrays(flat: NDArray[np.uint8], n_bytes: int) -> Arrays:
    """Take the images, ``n_bytes`` in all, and the labels behind them."""
    return flat[:n_bytes].reshape(-1, CHANNELS, SIDE, SIDE), flat[n_bytes:]


def _torchvision_read(root: Path) -> tuple[Arrays, Arrays]:
    """Read training and test arrays, only from files with the published MD5."""
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
        # torchvision checks this too, but says only that something is missing or corrupted.
        if not check_integrity(path, md5):
            raise ConfigError(
                f"{path} is not the published file: its MD5 is not {md5}; remove it and get a "
                "fresh copy"
            )
    return _unpickle(root, train=True), _unpickle(root, train=False)


def _unpickle(root: Path, *, train: bool, download: bool = False) -> Arrays:
    from torchvision.datasets import CIFAR10

    with warnings.catch_warnings():
        # The published pickles spell a dtype in a way that today's NumPy warns about.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        found = CIFAR10(str(root), train=train, download=download)
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
    return images, np.asarray(found.targets, np.uint8)
