"""Stability: whether other seeds find the same atoms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# All cosines of more atoms than these would fill the memory, and take long to match.
MOST_MATCHED = 4096
ROWS = 1024


class Alike(NamedTuple):
    """How alike the atoms of two dictionaries are.

    Attributes:
        matched: the mean cosine of the best one-to-one match; None without SciPy, or of too many.
        nearest: the mean over both of the largest cosine of an atom to one of the other.
    """

    matched: float | None
    nearest: float


def alike(one: Tensor, other: Tensor, *, signed: bool) -> Alike:
    """Compare atoms ``(n, n_features)`` and ``(m, n_features)``; an atom of 0 is like no other.

    Args:
        signed: whether an atom and its negative differ, as they do where codes are not negative.
    """
    one, other = F.normalize(one.double(), dim=1), F.normalize(other.double(), dim=1)
    nearest = 0.5 * (_nearest(one, other, signed) + _nearest(other, one, signed))
    return Alike(_matched(one, other, signed), nearest)


def stability(dictionaries: Sequence[Tensor], *, signed: bool) -> dict[str, Any]:
    """Give the means over all pairs of dictionaries: ``matched_cosine`` and ``nearest_cosine``."""
    pairs = [alike(one, other, signed=signed) for one, other in combinations(dictionaries, 2)]
    matched = [pair.matched for pair in pairs if pair.matched is not None]
    found: dict[str, Any] = {"nearest_cosine": sum(pair.nearest for pair in pairs) / len(pairs)}
    if len(matched) == len(pairs):
        found = {"matched_cosine": sum(matched) / len(matched)} | found
    return found


def _nearest(one: Tensor, other: Tensor, signed: bool) -> float:
    largest = [_cosines(rows, other, signed).amax(1) for rows in torch.split(one, ROWS)]
    return float(torch.cat(largest).mean())


def _matched(one: Tensor, other: Tensor, signed: bool) -> float | None:
    """Match by the Hungarian method; None where that is not to be had."""
    if max(len(one), len(other)) > MOST_MATCHED:
        return None
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        return None
    cosines = _cosines(one, other, signed).numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return float(cosines[rows, columns].mean())


def _cosines(one: Tensor, other: Tensor, signed: bool) -> Tensor:
    cosines = one @ other.t()
    return cosines if signed else cosines.abs()
