"""The data sets; importing this package registers them all."""

from __future__ import annotations

from sae_cli.datasets import (
    array,
    cifar10,
    digits,
    image_folder,
    mnist,
    mnist_5k,
    natural_patches,
)
from sae_cli.datasets.dataset import DATASETS, Dataset, Split

__all__ = [
    "DATASETS",
    "Dataset",
    "Split",
    "array",
    "cifar10",
    "digits",
    "image_folder",
    "mnist",
    "mnist_5k",
    "natural_patches",
]
