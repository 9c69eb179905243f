"""Weights whose rows or columns stay within a norm."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


@final
class MaxNorm(nn.Module):
    """Parametrization that scales what is longer than ``bound`` down to it.

    Each vector along ``dim`` becomes ``w * min(1, bound / |w|)``: ``dim=0`` bounds the columns of a
    matrix, ``dim=1`` its rows. What is at the bound has no gradient along itself, so it turns but
    does not shrink.
    """

    def __init__(self, bound: float, dim: int) -> None:
        super().__init__()
        self.bound = bound
        self.dim = dim

    def forward(self, weight: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(weight, dim=self.dim, keepdim=True)
        tiny = torch.finfo(weight.dtype).tiny
        shorter: Tensor = weight * (self.bound / norms.clamp_min(tiny)).clamp_max(1.0)
        return shorter

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def bound_(layer: nn.Linear, bound: float | None, dim: int) -> None:
    """Keep the vectors along ``dim`` of a layer's weight within ``bound``; None bounds nothing."""
    if bound is not None:
        # Unsafe means untried: a trial on the meta device would import sympy.
        parametrize.register_parametrization(layer, "weight", MaxNorm(bound, dim), unsafe=True)
