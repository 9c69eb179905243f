"""Weights that are bounded, normalised or shared."""

from __future__ import annotations

from typing import TypeGuard, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from sae_cli.core.ranks.latents import sharing_latents, sum_over_latents


@final
class MaxNorm(nn.Module):
    """Parametrization that bounds the L2 norm of each vector along ``dim``.

    It gives ``w * min(1, bound / |w|)``; ``dim=0`` bounds the columns of a matrix, ``dim=1`` its
    rows. A vector at the bound has no gradient along itself: it turns but does not shrink.
    """

    def __init__(self, bound: float, dim: int) -> None:
        super().__init__()
        self.bound = bound
        self.dim = dim

    def forward(self, weight: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(weight, dim=self.dim, keepdim=True)
        # The derivative divides by the square of the norm, which must not be zero either.
        least = torch.finfo(weight.dtype).tiny ** 0.5
        shorter: Tensor = weight * (self.bound / norms.clamp_min(least)).clamp_max(1.0)
        return shorter

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def constrain_(layer: nn.Module, by: nn.Module) -> None:
    """Compute a layer's weight from its parameter by a parametrization, such as ``UnitNorm``."""
    # Unless told that it is unsafe, PyTorch tries it, which imports sympy on the meta device.
    parametrize.register_parametrization(layer, "weight", by, unsafe=True)


def bound_(layer: nn.Linear, bound: float | None, dim: int) -> None:
    """Keep the vectors along ``dim`` of a layer's weight within ``bound``; None bounds nothing."""
    if bound is not None:
        constrain_(layer, MaxNorm(bound, dim))


@final
class UnitNorm(nn.Module):
    """Parametrization that scales a weight to unit L2 norm along ``dim``.

    The gradient then has no part along the vector itself, so no step is spent on its length.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight: Tensor) -> Tensor:
        return F.normalize(weight, dim=self.dim)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


@final
class TiedLinear(nn.Module):
    """A decoder layer that uses the transpose of an encoder layer's weight, with its own bias.

    The weight stays one parameter, owned by the encoder: it is saved once, moved once, and
    receives the gradient of both uses.
    """

    def __init__(self, encoder_layer: nn.Linear) -> None:
        super().__init__()
        # In a tuple the encoder's layer is not registered a second time.
        self._encoder_layer = (encoder_layer,)
        self.bias = nn.Parameter(torch.zeros(encoder_layer.in_features))

    @property
    def weight(self) -> Tensor:
        """``(n_out, n_in)``, a view of the encoder's ``(n_in, n_out)`` weight."""
        return self._encoder_layer[0].weight.t()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def is_linear(part: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a part is a linear layer, its weight constrained or not, and does nothing else."""
    hooked = part._forward_hooks or part._forward_pre_hooks
    return parametrize.type_before_parametrizations(part) is nn.Linear and not hooked


def linear_over_latents(codes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``D codes + b`` over all latents, from those that this process has: ``(batch, n)``.

    Args:
        codes: ``(batch, n_held)``.
        weight: ``(n, n_held)``.
        bias: ``(n,)``; the first of several processes adds it, so that its gradient is the sum of
            what the processes find.
    """
    ranks = sharing_latents()
    if ranks is not None and ranks.rank > 0:
        bias = None
    return sum_over_latents(F.linear(codes, weight, bias))


def linear_of_few(codes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``D codes + b`` from the codes that are not 0 alone: ``(batch, n)``.

    Args:
        codes: ``(batch, n_latents)``.
        weight: ``(n, n_latents)``.
        bias: ``(n,)``.
    """
    examples, latents = codes.nonzero(as_tuple=True)
    starts = torch.searchsorted(examples, torch.arange(len(codes), device=codes.device))
    rows, values = weight.t().contiguous(), codes[examples, latents]
    summed = F.embedding_bag(latents, rows, starts, mode="sum", per_sample_weights=values)
    return summed if bias is None else summed.add_(bias)
