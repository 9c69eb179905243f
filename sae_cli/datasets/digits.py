"""The 1 797 real handwritten digits that ship inside this package (no download).

Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository, 1998, CC BY 4.0 (the test part; scikit-learn carries the same images): 8x8 pixels,
values 0 to 16. See NOTICE.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch

from sae_cli.core.options import Count
from sae_cli.core.shapes import UNIT
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.inputs import Inputs
from sae_cli.datasets.splits import split_counts


@DATASETS.register("digits")
def digits(*, val: Count, test: Count) -> Dataset:
    """Read the digits in the file's order: training rows, then ``val``, then ``test`` rows.

    Raises:
        ConfigError: nothing would be left for training.
    """
    with files("sae_cli.datasets").joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file)
        stored = torch.from_numpy(arrays["images"]).unsqueeze(1)
        labels = torch.from_numpy(arrays["labels"]).long()
    rows = split_counts(len(stored), val=val, test=test, seed=None)
    inputs = Inputs(divisor=16.0)
    return Dataset(
        train=Split(stored, rows.train, labels, inputs),
        val=Split(stored, rows.val, labels, inputs),
        test=Split(stored, rows.test, labels, inputs),
        interval=UNIT,
        n_classes=10,
        source="digits inside sae_cli (UCI Optical Recognition of Handwritten Digits)",
    )
