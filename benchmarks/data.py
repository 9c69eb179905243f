"""Fashion-MNIST as NumPy arrays, from the folders in which sae-train looks for it."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from job import N_FEATURES, N_TRAIN

FOLDERS = (
    Path("data"),
    Path("data/FashionMNIST/raw"),
    Path("/usr/share/datasets/fashion-mnist"),
)
IMAGES_HEADER, LABELS_HEADER = 16, 8


def read(name: str, header: int) -> NDArray[np.uint8]:
    """Read the bytes of an IDX file, plain or gzipped, without its header."""
    for folder in FOLDERS:
        plain, packed = folder / name, folder / f"{name}.gz"
        if plain.is_file():
            return np.frombuffer(plain.read_bytes(), np.uint8, offset=header)
        if packed.is_file():
            return np.frombuffer(gzip.decompress(packed.read_bytes()), np.uint8, offset=header)
    sys.exit(f"{name} is not there; `sae-train dataset=fashion_mnist epochs=1` downloads it")


def train_and_val() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read images ``(n, 784)`` in [0, 1]: those to train on, and those to validate with."""
    pixels = read("train-images-idx3-ubyte", IMAGES_HEADER).reshape(-1, N_FEATURES)
    images = pixels.astype(np.float32) / np.float32(255)
    return images[:N_TRAIN], images[N_TRAIN:]
