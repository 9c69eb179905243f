"""stub"""

from __future__ import annotations

from torch import Tensor, nn


class MaxNorm(nn.Module):
    def __init__(self, bound: float, dim: int) -> None:
        super().__init__()
        self.bound, self.dim = bound, dim

    def forward(self, weight: Tensor) -> Tensor:
        return weight / (weight.norm(dim=self.dim, keepdim=True) / self.bound).clamp_min(1.0)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight
