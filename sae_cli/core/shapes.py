"""Shapes and ranges: what parts know of each other's numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """The range that values are known to lie in, ends included."""

    low: float
    high: float

    def within(self, other: Interval) -> bool:
        return other.low <= self.low and self.high <= other.high

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


REALS = Interval(-math.inf, math.inf)
NON_NEGATIVE = Interval(0.0, math.inf)
UNIT = Interval(0.0, 1.0)


@dataclass(frozen=True)
class DataShape:
    """The shape of one example and the number of classes: what a model knows of its data."""

    input_shape: tuple[int, ...]
    n_classes: int | None

    @property
    def n_features(self) -> int:
        return math.prod(self.input_shape)
