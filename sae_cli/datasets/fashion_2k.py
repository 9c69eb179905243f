"""The first 2 000 training images of Fashion-MNIST, which ship inside this package (no download).

Xiao, Rasul, Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017, MIT licence: 28x28 pixels, values 0 to 255, ten classes of 186 to 216 images
each. See NOTICE.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch

from sae_cli.core.options import Count
from sae_cli.core.shapes import UNIT
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.inputs import BYTES
from sae_cli.datasets.mnist import FASHION_CLASSES
from sae_cli.datasets.splits import split_counts


@DATASETS.register("fashion_2k")
def fashion_2k(*, val: Count, test: Count) -> Dataset:
    """Read the images in the file's order: training rows, then ``val``, then ``test`` rows.

    Raises:
        ConfigError: nothing would be left for training.
    """
    with files("sae_cli.datasets").joinpath("fashion_2k.npz").open("rb") as file:
        arrays = np.load(file)
        stored = torch.from_numpy(arrays["images"]).unsqueeze(1)
        labels = torch.from_numpy(arrays["labels"]).long()
    rows = split_counts(len(stored), val=val, test=test, seed=None)
    return Dataset(
        train=Split(stored, rows.train, labels, BYTES),
        val=Split(stored, rows.val, labels, BYTES),
        test=Split(stored, rows.test, labels, BYTES),
        interval=UNIT,
        n_classes=len(FASHION_CLASSES),
        source="fashion_2k inside sae_cli (the first 2 000 training images of Fashion-MNIST)",
        class_names=FASHION_CLASSES,
    )
