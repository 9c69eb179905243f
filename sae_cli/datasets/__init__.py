"""Data sets: one file for each source."""

# Importing a source registers it.
from sae_cli.datasets import array, cifar10, digits, image_folder, mnist, mnist_5k
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
]
