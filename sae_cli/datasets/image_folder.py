"""Images in folders, one folder a class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.splits import by_shares, shuffled
from sae_cli.options import Count, Natural, OpenUnit
from sae_cli.registry import ConfigError
from sae_cli.shapes import UNIT


@DATASETS.register("image_folder")
def image_folder(
    *,
    path: str,
    size: Count,
    channels: Literal[1, 3],
    val: OpenUnit,
    test: OpenUnit,
    split_seed: Natural,
) -> Dataset:
    """Every image, its shorter side resized to ``size`` and its centre cut out, decoded once.

    Raises:
        ConfigError: no such folder, no images in class folders, or an image that cannot be read.
    """
    folder = Path(path).expanduser()
    found = _listing(folder)
    images = _decoded([Path(file) for file, _ in found.samples], size, channels)
    labels = torch.tensor(found.targets)
    train, validation, held_out = by_shares(shuffled(len(images), split_seed), val, test)
    return Dataset(
        train=Split(images, train, labels, 255.0),
        val=Split(images, validation, labels, 255.0),
        test=Split(images, held_out, labels, 255.0),
        interval=UNIT,
        n_classes=len(found.classes),
        source=f"{len(images)} images in {folder.absolute()}",
    )


def _listing(folder: Path) -> Any:
    from torchvision.datasets import ImageFolder

    if not folder.is_dir():
        raise ConfigError(f"dataset.path={folder}: no such folder")
    try:
        return ImageFolder(folder)
    except FileNotFoundError as error:
        raise ConfigError(
            f"dataset.path={folder}: expected images in one folder a class, "
            f"{folder}/CLASS/IMAGE.png; {' '.join(str(error).split())}"
        ) from None


def _decoded(files: list[Path], size: int, channels: int) -> Tensor:
    """uint8 ``(n, channels, size, size)``."""
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms import v2

    prepare = v2.Compose([v2.PILToTensor(), v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    images = torch.empty((len(files), channels, size, size), dtype=torch.uint8)
    for i, file in enumerate(tqdm(files, desc="decoding", unit="image", disable=None)):
        try:
            with Image.open(file) as image:
                images[i] = prepare(image.convert("L" if channels == 1 else "RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise ConfigError(f"{file} cannot be read as an image ({error})") from None
    return images
