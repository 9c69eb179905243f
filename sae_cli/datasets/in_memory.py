"""A data set of arrays that are in memory: what the author of another data set begins with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count
from sae_cli.core.shapes import REALS, UNIT
from sae_cli.datasets.dataset import Dataset, Split
from sae_cli.datasets.inputs import Inputs
from sae_cli.datasets.splits import split_counts


def dataset_of(
    x: Any,
    labels: Any = None,
    *,
    val: Count,
    test: Count,
    source: str,
    divisor: float = 1.0,
    seed: int | None = None,
) -> Dataset:
    """Make a data set of examples: first those that train, then ``val`` rows, then ``test`` rows.

    Args:
        x: a tensor or array ``(n, ...)`` of any number type, without NaN; images are ``(n,
            channels, height, width)``.
        labels: ``(n,)`` whole numbers from 0 on, -1 for an example without one; or None.
        source: one line on where they came from.
        divisor: values are divided by this.
        seed: draws the order of the rows; None keeps it.

    Raises:
        ConfigError: nothing would be left for training, or the values are no finite numbers.
    """
    stored = torch.as_tensor(x)
    if stored.ndim < 2 or not bool(torch.isfinite(stored.double()).all()):
        raise ConfigError(
            f"{source}: examples have the shape {tuple(stored.shape)}, or values that are not "
            "finite; give finite numbers of the shape (n, ...)"
        )
    rows = split_counts(len(stored), val=val, test=test, seed=seed)
    found = None if labels is None else torch.as_tensor(labels).long()
    inputs = Inputs(divisor=divisor)
    low, high = float(stored.min()) / divisor, float(stored.max()) / divisor
    return Dataset(
        train=Split(stored, rows.train, found, inputs),
        val=Split(stored, rows.val, found, inputs),
        test=Split(stored, rows.test, found, inputs),
        interval=UNIT if low >= 0.0 and high <= 1.0 else REALS,
        n_classes=None if found is None else _n_classes(found, len(stored), source),
        source=source,
    )


def _n_classes(labels: Tensor, n_examples: int, source: str) -> int:
    if labels.shape != (n_examples,) or int(labels.min()) < -1 or int(labels.max()) < 0:
        raise ConfigError(
            f"{source}: labels of the shape {tuple(labels.shape)} from {int(labels.min())} on are "
            f"none of {n_examples} examples; give ({n_examples},) whole numbers from 0 on, or -1"
        )
    return int(labels.max()) + 1
