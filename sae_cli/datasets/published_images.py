"""Data sets that are published as a training and a test part, with images as bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sae_cli.core.shapes import UNIT
from sae_cli.datasets.dataset import Dataset, Split
from sae_cli.datasets.splits import last_rows


def published_images(
    training: tuple[Tensor, Tensor],
    testing: tuple[Tensor, Tensor],
    *,
    val: int,
    n_classes: int,
    folder: Path,
) -> Dataset:
    """Make a data set whose last ``val`` training images validate; values are divided by 255.

    Args:
        training, testing: uint8 images ``(n, channels, height, width)`` and int64 labels ``(n,)``.
        val: number of validation images.
        n_classes: number of classes.
        folder: the folder that they were read from.

    Raises:
        ConfigError: nothing would be left for training.
    """
    images, labels = training
    test_images, test_labels = testing
    train, validation = last_rows(len(images), val=val)
    return Dataset(
        train=Split(images, train, labels, 255.0),
        val=Split(images, validation, labels, 255.0),
        test=Split(test_images, torch.arange(len(test_images)), test_labels, 255.0),
        interval=UNIT,
        n_classes=n_classes,
        source=str(folder),
    )
