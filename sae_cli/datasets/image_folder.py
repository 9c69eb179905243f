"""A user's own pictures, one folder per class: torchvision's ImageFolder layout, path/class/x.png.

Pictures are decoded once, before training, to the pixels that torchvision's ``Resize(size)`` and
``CenterCrop(size)`` give, without the seconds that its import takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sae_cli.core.bar import Bar
from sae_cli.core.options import Count
from sae_cli.core.paths import full_path
from sae_cli.core.shapes import UNIT
from sae_cli.datasets.class_folders import ClassFolders, list_class_folders
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.formats.picture import describe_first, read_picture
from sae_cli.datasets.inputs import BYTES
from sae_cli.datasets.split_folders import describe_splits
from sae_cli.datasets.splits import Rows, Seed, Share, describe_unseen, split_shares

if TYPE_CHECKING:
    from PIL import Image


@DATASETS.register("image_folder")
def image_folder(
    *, path: str, size: Count, channels: Literal[1, 3], val: Share, test: Share, split_seed: Seed
) -> Dataset:
    """Read pictures; shares of them, drawn with ``split_seed``, validate and test, the rest trains.

    Where ``path`` has folders train, val and test above those of the classes, these are the
    splits, and only a split without a folder is drawn, out of the pictures that train.

    Raises:
        ConfigError: no such folder, no classes, a class without pictures, an unreadable picture,
            or a split would be empty.
    """
    folder = full_path(path)
    found = list_class_folders(folder)
    n = len(found.paths)
    rows = _rows(found, val, test, split_seed)
    decoded = np.empty((n, channels, size, size), np.uint8)
    n_first = 0
    # With disable=None the bar stays quiet where the output is not a terminal.
    for row, picture in enumerate(Bar(found.paths, "decoding pictures", disable=None)):
        image, is_first = read_picture(picture, "L" if channels == 1 else "RGB")
        decoded[row] = _centre_square(image, size, channels)
        n_first += is_first
    stored, labels = torch.from_numpy(decoded), torch.tensor(found.labels)
    about = [
        f"{folder}: {n} pictures in {len(found.classes)} classes",
        describe_splits(found.splits, found.counts),
        describe_unseen(labels[rows.train], found.classes),
        describe_first(n_first),
        *found.about,
    ]
    return Dataset(
        train=Split(stored, rows.train, labels, BYTES),
        val=Split(stored, rows.val, labels, BYTES),
        test=Split(stored, rows.test, labels, BYTES),
        interval=UNIT,
        n_classes=len(found.classes),
        source="; ".join(filter(None, about)),
        class_names=tuple(found.classes) if any(found.classes) else None,
    )


def _rows(found: ClassFolders, val: float, test: float, seed: int) -> Rows:
    """Give the rows of each split: those of its own folder, or drawn of those that train."""
    n_training = found.counts["train"]
    drawn = split_shares(
        n_training,
        val=None if "val" in found.splits else val,
        test=None if "test" in found.splits else test,
        seed=seed,
    )
    if not found.splits:
        return drawn
    n_val = found.counts.get("val", 0)
    rest = torch.arange(n_training, len(found.paths))
    val_rows, test_rows = rest[:n_val], rest[n_val:]
    return Rows(
        drawn.train,
        val_rows if "val" in found.splits else drawn.val,
        test_rows if "test" in found.splits else drawn.test,
    )


def _decoded(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Read a picture as a square: uint8 ``(channels, size, size)``.

    Raises:
        ConfigError: as ``read_picture``.
    """
    return _centre_square(read_picture(path, "L" if channels == 1 else "RGB").image, size, channels)


def _centre_square(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """Resize the shorter side to ``size`` and cut out the centre: uint8 ``(channels, size, size)``.

    Args:
        image: a picture in grey or in colour.
    """
    from PIL import Image

    width, height = image.size
    short = min(width, height)
    resized = image.resize(
        (int(size * width / short), int(size * height / short)), Image.Resampling.BILINEAR
    )
    left, top = (round((side - size) / 2) for side in resized.size)
    pixels = np.asarray(resized.crop((left, top, left + size, top + size)))
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)
