"""A look at the training examples of a set of flat numbers: one pass, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sae_cli.datasets.dataset import Split

# Rows are compared by their hashes, which would fill the memory for the rows of a large file.
COMPARED_ROWS = 200_000
# A feature is an outlier if it deviates from its mean by more than so many times the median.
OUTLIER = 10.0


@dataclass(frozen=True)
class Look:
    """What training examples of flat numbers are like, as a model sees them.

    Attributes:
        rows, width: their number, and that of the features.
        dtype: of the stored values.
        low, high: the range of the values.
        mean_norm: the mean of the examples' L2 norms.
        rms: the root mean square of the values.
        mean_over_spread: the norm of the mean example, over the root mean square of the distances
            to it; None where all examples are alike.
        outliers: the features whose standard deviation is more than ``OUTLIER`` times the median of
            those of all features that vary.
        compared_rows: how many of the first rows were compared with each other.
        repeated_rows: how many of these repeat an earlier one, byte for byte.
        constant_rows: how many rows hold one value alone; 0 for rows of one value.
        constant_columns: how many features are the same in every row.
    """

    rows: int
    width: int
    dtype: str
    low: float
    high: float
    mean_norm: float
    rms: float
    mean_over_spread: float | None
    outliers: list[int]
    compared_rows: int
    repeated_rows: int
    constant_rows: int
    constant_columns: int


def look_at(split: Split) -> Look:
    """Look at the examples ``(n, width)`` of a split, on the CPU."""
    sums = _Sums()
    for values in split.chunks():
        sums.add(values)
    return sums.look(str(split.stored.dtype).removeprefix("torch."))


@final
class _Sums:
    """Running sums over chunks ``(batch, width)``.

    The first row is subtracted from all, so that features far from 0 lose no digits.
    """

    def __init__(self) -> None:
        self._n, self._norms, self._squares = 0, 0.0, 0.0
        self._constant_rows, self._compared = 0, 0
        self._hashes: set[int] = set()

    def add(self, values: Tensor) -> None:
        x = values.double()
        if self._n == 0:
            self._first = x[0].clone()
            self._sum, self._square = torch.zeros_like(x[0]), torch.zeros_like(x[0])
            self._low, self._high = values[0].clone(), values[0].clone()
        # PyTorch's aminmax takes ten times as long.
        self._low = self._low.minimum(values.amin(0))
        self._high = self._high.maximum(values.amax(0))
        self._constant_rows += int((values.amin(1) == values.amax(1)).sum())
        squares = x.square().sum(1)
        self._norms += float(squares.sqrt().sum())
        self._squares += float(squares.sum())
        x -= self._first
        self._sum += x.sum(0)
        self._square += x.square_().sum(0)
        self._n += len(values)
        self._compare(values[: COMPARED_ROWS - self._compared])

    def _compare(self, values: Tensor) -> None:
        self._compared += len(values)
        data, size = values.contiguous().numpy().tobytes(), 4 * values.shape[1]
        self._hashes |= {hash(data[at : at + size]) for at in range(0, len(data), size)}

    def look(self, dtype: str) -> Look:
        n, width = self._n, len(self._sum)
        mean = self._sum / n
        variances = (self._square / n - mean.square()).clamp(min=0.0)
        varies = self._low < self._high
        spread = float(variances.sum().sqrt())
        distance = float((mean + self._first).norm())
        outliers: list[int] = []
        if varies.any():
            deviations = variances.sqrt()
            limit = OUTLIER * deviations[varies].median()
            outliers = (deviations > limit).nonzero().flatten().tolist()
        return Look(
            rows=n,
            width=width,
            dtype=dtype,
            low=float(self._low.min()),
            high=float(self._high.max()),
            mean_norm=_short(self._norms / n),
            rms=_short((self._squares / (n * width)) ** 0.5),
            mean_over_spread=_short(distance / spread) if spread > 0.0 else None,
            outliers=outliers,
            compared_rows=self._compared,
            repeated_rows=self._compared - len(self._hashes),
            constant_rows=self._constant_rows if width > 1 else 0,
            constant_columns=int((~varies).sum()),
        )


def _short(value: float) -> float:
    """Round to six digits, which do not depend on the number of threads."""
    return float(f"{value:.6g}")
