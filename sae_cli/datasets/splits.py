"""Which rows go to training, validation and test."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sae_cli.registry import ConfigError

Rows = tuple[Tensor, Tensor, Tensor]


def by_counts(order: Tensor, val: int, test: int) -> Rows:
    """Training rows first, then ``val``, then the last ``test``, in the given order.

    Raises:
        ConfigError: nothing would be left for training.
    """
    n = len(order)
    if val + test >= n:
        raise ConfigError(
            f"dataset.val={val} and dataset.test={test} leave nothing of the {n} examples to train "
            f"on; their sum must be below {n}"
        )
    train, validation, held_out = torch.split(order, [n - val - test, val, test])
    return train, validation, held_out


def by_shares(order: Tensor, val: float, test: float) -> Rows:
    """As ``by_counts``, with shares of all rows, each of at least one row.

    Raises:
        ConfigError: nothing would be left for training.
    """
    n = len(order)
    counts = [max(1, round(share * n)) for share in (val, test)]
    if sum(counts) >= n:
        raise ConfigError(
            f"dataset.val={val:g} and dataset.test={test:g} leave nothing of the {n} examples to "
            "train on; give smaller shares or more examples"
        )
    return by_counts(order, *counts)


def shuffled(n: int, seed: int) -> Tensor:
    """``n`` rows in an order that the seed fixes."""
    return torch.randperm(n, generator=Generator().manual_seed(seed))
