"""Data sets that are published as a training and a test part, with images as bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sae_cli.core.shapes import UNIT
from sae_cli.datasets.dataset import Dataset, Split
from sae_cli.datasets.inputs import BYTES
from sae_cli.datasets.splits import describe_unseen, last_rows


def published_images(
    training: tuple[Tensor, Tensor],
    testing: tuple[Tensor, Tensor],
    *,
    val: int,
    n_classes: int,
    folder: Path,
    unlabelled: str = "",
    class_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Make a data set whose last ``val`` training images validate; values are divided by 255.

    Args:
        training, testing: uint8 images ``(n, channels, height, width)`` and int64 labels ``(n,)``.
        val: number of validation images.
        n_classes: number of classes.
        folder: the folder that they were read from.
        unlabelled: why the labels name no classes, if they do not; they are left out then.
        class_names: one for each class, where it has a better one than its number.

    Raises:
        ConfigError: nothing would be left for training.
    """
    (images, labels), (test_images, test_labels) = training, testing
    train, validation = last_rows(len(images), val=val)
    if unlabelled:
        about = f"its labels are left out, because {unlabelled}"
    else:
        about = describe_unseen(labels[train], [f"class {n}" for n in range(n_classes)])
    kept, test_kept = (None, None) if unlabelled else (labels, test_labels)
    return Dataset(
        train=Split(images, train, kept, BYTES),
        val=Split(images, validation, kept, BYTES),
        test=Split(test_images, torch.arange(len(test_images)), test_kept, BYTES),
        interval=UNIT,
        n_classes=None if unlabelled else n_classes,
        source=f"{folder}; {about}" if about else str(folder),
        unlabelled=unlabelled,
        class_names=None if unlabelled else class_names,
    )
