"""The centre of the training examples, which the bias of some decoders begins with."""

from __future__ import annotations

import torch
from torch import Tensor

from sae_cli.datasets import Split
from sae_cli.model.autoencoder import AutoEncoder, Centre

BATCH = 1024
# The geometric median is that of at most so many examples, evenly spaced among all, which hold at
# most so many numbers.
MEDIAN_EXAMPLES, MEDIAN_NUMBERS = 10_000, 1 << 25
# Weiszfeld's steps end when they are shorter than this share of the mean distance.
MEDIAN_STEPS, MEDIAN_TOLERANCE = 1_000, 1e-9


@torch.no_grad()
def set_bias_(autoencoder: AutoEncoder, train: Split) -> None:
    """Set the bias of a linear decoder to the centre of the examples, if it begins there."""
    if autoencoder.bias_from is None:
        return
    linear = autoencoder.linear_decoder()
    assert linear is not None and linear[1] is not None, "only a linear decoder begins there"
    linear[1].copy_(centre(train, autoencoder.bias_from))


def centre(split: Split, kind: Centre) -> Tensor:
    """Give the centre of a split's examples, float64 ``(n_features,)``.

    It is computed batch by batch in the order of the rows, so that it is the same each time.
    """
    return mean(split) if kind == "mean" else geometric_median(_spaced(split))


def mean(split: Split) -> Tensor:
    """Give the mean of a split, in one pass."""
    total = sum(batch.flatten(1).sum(0, dtype=torch.float64) for batch in split.batches(BATCH))
    assert isinstance(total, Tensor), "a split is never empty"
    return total / len(split)


def _spaced(split: Split) -> Tensor:
    """Take examples that are evenly spaced among all, ``(n, n_features)``, few enough to hold."""
    n_features = split.values(split.rows[:1]).numel()
    most = max(1, min(MEDIAN_EXAMPLES, MEDIAN_NUMBERS // n_features))
    return split.values(split.rows[:: -(-len(split) // most)]).flatten(1)


def geometric_median(x: Tensor) -> Tensor:
    """Give the point with the least mean distance to the rows of ``x`` ``(n, n_features)``.

    Weiszfeld 1937: the mean with weights of one over each distance, again and again.
    """
    x = x.double()
    point = x.mean(0)
    tiny = torch.finfo(x.dtype).tiny
    for _ in range(MEDIAN_STEPS):
        distances = torch.linalg.vector_norm(x - point, dim=1)
        # A row that the point lies on takes all the weight.
        weights = 1.0 / distances.clamp_min(tiny**0.5)
        moved = (weights / weights.sum()) @ x
        short = torch.linalg.vector_norm(moved - point) <= MEDIAN_TOLERANCE * distances.mean()
        point = moved
        if short:
            break
    return point
