"""Splits: the rows that train, validate and test, by counts or shares, in order or drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from sae_cli.core.errors import ConfigError

Share = Annotated[float, Field(gt=0, lt=1)]
"""A share of the examples: some, but not all."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""The seed of a drawing of rows; the same seed draws the same rows."""


# Names of more classes would make a long line.
MAX_NAMED = 10


class Rows(NamedTuple):
    """int64 row numbers of the three splits; no row is in two, and none that is drawn is empty."""

    train: Tensor
    val: Tensor
    test: Tensor


def last_rows(n_rows: int, *, val: int) -> tuple[Tensor, Tensor]:
    """Give the first rows to train and the last ``val`` rows to validate.

    Raises:
        ConfigError: nothing would be left for training.
    """
    if val >= n_rows:
        raise ConfigError(
            f"dataset.val={val} leaves nothing of the {n_rows} training examples for training; "
            f"give less than {n_rows}"
        )
    train, validation = torch.arange(n_rows).tensor_split([n_rows - val])
    return train, validation


def split_counts(n_rows: int, *, val: int, test: int, seed: int | None) -> Rows:
    """Split rows: first those that train, then ``val`` rows, then ``test`` rows.

    Args:
        seed: draws the order of the rows; None keeps the order of the file.

    Raises:
        ConfigError: nothing would be left for training.
    """
    if val + test >= n_rows:
        raise ConfigError(
            f"dataset.val={val} and dataset.test={test} leave nothing of the {n_rows} examples "
            f"for training; their sum must be below {n_rows}"
        )
    return Rows(*_order(n_rows, seed).tensor_split([n_rows - val - test, n_rows - test]))


def split_shares(n_rows: int, *, val: float | None, test: float | None, seed: int | None) -> Rows:
    """Split as :func:`split_counts` does, by shares of the rows, rounded to whole rows.

    Args:
        val, test: shares; None draws no rows, where the split has other examples.

    Raises:
        ConfigError: a split would be empty.
    """
    shares = {"val": val, "test": test}
    given = {name: share for name, share in shares.items() if share is not None}
    counts = {"val": 0, "test": 0} | {k: round(share * n_rows) for k, share in given.items()}
    for name, share in given.items():
        if counts[name] == 0:
            raise ConfigError(
                f"dataset.{name}={share} is less than one of the {n_rows} examples; give at least "
                f"{1 / n_rows:.2g}, or more examples"
            )
    if sum(counts.values()) >= n_rows:
        raise ConfigError(
            f"{' and '.join(f'dataset.{name}={share}' for name, share in given.items())} "
            f"leave{'s' if len(given) == 1 else ''} nothing of the {n_rows} examples "
            "for training; give smaller shares, or more examples"
        )
    return split_counts(n_rows, val=counts["val"], test=counts["test"], seed=seed)


def describe_unseen(labels: Tensor, classes: Sequence[str]) -> str:
    """Name the classes that have no training example; nothing if all have.

    Args:
        labels: int64 ``(n,)``, of the training examples.
    """
    seen = torch.bincount(labels, minlength=len(classes)) > 0
    unseen = [name for name, known in zip(classes, seen.tolist(), strict=True) if not known]
    more = f" and {len(unseen) - MAX_NAMED} more" if len(unseen) > MAX_NAMED else ""
    return f"no training example of {', '.join(unseen[:MAX_NAMED])}{more}" if unseen else ""


def _order(n_rows: int, seed: int | None) -> Tensor:
    if seed is None:
        return torch.arange(n_rows)
    return torch.randperm(n_rows, generator=torch.Generator().manual_seed(seed))
