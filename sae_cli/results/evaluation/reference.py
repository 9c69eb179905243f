"""The reference line: principal components, the best that any linear code of that width can do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae_cli.core.text import counted
from sae_cli.datasets import Split

# The covariance of so many features fits a moment and any memory.
MOST_FEATURES = 4096
# Of more features, so many examples and values are decomposed.
MOST_ROWS, MOST_VALUES = 4096, 1 << 26


class Components(NamedTuple):
    """Principal components, the largest first.

    Attributes:
        mean: ``(n_features,)`` float64, of the examples.
        axes: ``(n_components, n_features)`` float64, orthonormal.
        how: what they were computed from, in words.
    """

    mean: Tensor
    axes: Tensor
    how: str


def principal_components(train: Split) -> Components:
    """Find the principal components of a split, exactly where that is possible.

    Up to 4 096 features their covariance is summed in float64, in one pass. Of more features the
    singular vectors of the examples are found, of some of them where all are too many.
    """
    n_features = math.prod(train.input_shape)
    if n_features <= MOST_FEATURES:
        return _of_covariance(train, n_features)
    n = min(len(train), MOST_ROWS, max(2, MOST_VALUES // n_features))
    # Evenly spaced examples stand for all.
    rows = train.rows[torch.arange(n) * len(train) // n]
    x = train.values(rows).flatten(1).double()
    mean = x.mean(0)
    axes: Tensor = torch.linalg.svd(x - mean, full_matrices=False)[2]
    how = counted(n, "training example")
    return Components(mean, axes, how if n == len(train) else f"{how} of {len(train):,}")


def unexplained(
    components: Components, split: Split, widths: Sequence[int], variation: float
) -> list[float]:
    """The fraction of variance unexplained by the first components, for each number of them.

    Args:
        widths: numbers of components.
        variation: sum of the squared distances of the examples to their own mean.

    Returns:
        NaN where the split does not vary.
    """
    energies = torch.zeros(len(components.axes), dtype=torch.float64)
    total = 0.0
    for x in _rows(split):
        moved = x - components.mean
        total += float(moved.square().sum())
        energies += (moved @ components.axes.t()).square().sum(0)
    left = total - torch.cat([torch.zeros(1, dtype=torch.float64), energies.cumsum(0)])
    # What rounding leaves of nothing may be less than nothing.
    left = left.clamp_min(0.0)
    if not variation > 0.0:
        return [math.nan for _ in widths]
    return [float(left[min(width, len(energies))]) / variation for width in widths]


def _of_covariance(train: Split, n_features: int) -> Components:
    n, first = 0, next(_rows(train))[0]
    total = torch.zeros(n_features, dtype=torch.float64)
    products = torch.zeros(n_features, n_features, dtype=torch.float64)
    for x in _rows(train):
        # A constant far from 0 would take the digits of what varies.
        moved = x - first
        n += len(moved)
        total += moved.sum(0)
        products.addmm_(moved.t(), moved)
    mean = total / n
    covariance = products / n - torch.outer(mean, mean)
    axes = torch.linalg.eigh(covariance).eigenvectors.flip(1).t()
    return Components(first + mean, axes, counted(n, "training example"))


def _rows(split: Split) -> Iterator[Tensor]:
    """Yield chunks of a split, float64 ``(batch, n_features)``."""
    for values in split.chunks():
        yield values.flatten(1).double()
