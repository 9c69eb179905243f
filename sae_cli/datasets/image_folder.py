"""A user's own pictures, one folder per class: torchvision's ImageFolder layout, path/class/x.png.

Pictures are decoded once, before training, to the pixels that torchvision's ``Resize(size)`` and
``CenterCrop(size)`` give, without the seconds that its import takes.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count
from sae_cli.core.shapes import UNIT
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.splits import Seed, Share, split_shares

if TYPE_CHECKING:
    from PIL import Image

# This is torchvision's list.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

# A longer picture would be resized to something far larger than the centre that is cut out.
MAX_ASPECT = 1000


class Picture(NamedTuple):
    """A picture's file and the number of its class."""

    path: Path
    label: int


@DATASETS.register("image_folder")
def image_folder(
    *, path: str, size: Count, channels: Literal[1, 3], val: Share, test: Share, split_seed: Seed
) -> Dataset:
    """Read pictures; shares of them, drawn with ``split_seed``, validate and test, the rest trains.

    Raises:
        ConfigError: no such folder, no classes, a class without pictures, an unreadable picture,
            or a split would be empty.
    """
    folder = Path(path).expanduser().absolute()
    classes, pictures = _list_pictures(folder)
    rows = split_shares(len(pictures), val=val, test=test, seed=split_seed)
    decoded = np.empty((len(pictures), channels, size, size), np.uint8)
    # With disable=None the bar stays quiet where the output is not a terminal.
    for row, picture in enumerate(tqdm(pictures, "decoding pictures", disable=None)):
        decoded[row] = _decoded(picture.path, size, channels)
    stored = torch.from_numpy(decoded)
    labels = torch.tensor([picture.label for picture in pictures])
    return Dataset(
        train=Split(stored, rows.train, labels, 255.0),
        val=Split(stored, rows.val, labels, 255.0),
        test=Split(stored, rows.test, labels, 255.0),
        interval=UNIT,
        n_classes=len(classes),
        source=f"{folder}: {len(pictures)} pictures in {len(classes)} classes",
    )


def _list_pictures(folder: Path) -> tuple[list[str], list[Picture]]:
    """List class names and pictures in alphabetical order, the same on every machine."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"dataset.path={folder} {what}; give the folder of the class folders")
    # Hidden folders belong to editors and version control.
    classes = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."
    )
    if not classes:
        raise ConfigError(
            f"dataset.path={folder} has no class folders; put the pictures into one sub-folder per "
            "class (a single one will do)"
        )
    pictures = []
    for label, name in enumerate(classes):
        found = sorted(pictures_in(folder / name))
        if not found:
            raise ConfigError(
                f"dataset.path={folder}: the class folder {name} has no pictures "
                f"({', '.join(EXTENSIONS)}); put some there, or remove it"
            )
        pictures += [Picture(path, label) for path in found]
    return classes, pictures


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures in a folder and its sub-folders, by the endings of their names."""
    return [
        Path(parent) / name
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS)
    ]


def _decoded(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Resize the shorter side to ``size`` and cut out the centre: uint8 ``(channels, size, size)``.

    Raises:
        ConfigError: as ``read_picture``.
    """
    from PIL import Image

    flat = read_picture(path, "L" if channels == 1 else "RGB")
    width, height = flat.size
    short = min(width, height)
    flat = flat.resize(
        (int(size * width / short), int(size * height / short)), Image.Resampling.BILINEAR
    )
    left, top = (round((side - size) / 2) for side in flat.size)
    pixels = np.asarray(flat.crop((left, top, left + size, top + size)))
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)


def read_picture(path: Path, mode: Literal["L", "RGB"]) -> Image.Image:
    """Read a picture in grey (``L``) or in colour; transparency is ignored.

    Raises:
        ConfigError: it cannot be read, has more than 8 bits a channel, or one side is more than
            ``MAX_ASPECT`` times the other.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if not 0 < max(image.size) <= MAX_ASPECT * min(image.size):
                raise ConfigError(
                    f"{path} is {image.width} x {image.height} pixels; one side may be at most "
                    f"{MAX_ASPECT} times the other; crop or remove it"
                )
            if image.mode.startswith(("I", "F")):
                raise ConfigError(
                    f"{path} has pixels of more than 8 bits (mode {image.mode}); convert it to 8"
                )
            if "transparency" in image.info:
                image = image.convert("RGBA")
            return image.convert(mode)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(
            f"{path} cannot be read as a picture ({text}); mend or remove it"
        ) from None
