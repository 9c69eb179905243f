"""Derivatives by hand with a leading axis of models; ``derivatives`` has those of one model.

Operation by operation they are the same, so that each model gets the bits that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.autoencoder import Pass
from sae_cli.model.penalties.activity import EPSILON, KL, L1
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.model.reconstruction import BCE, MSE, Reconstruction
from sae_cli.training.gradients.derivatives import ACTIVATIONS, LOGIT_MIN

# These treat the last elements of a tensor that fill no block by another formula than the others.
BY_BLOCKS = {"sigmoid", "softplus", "silu", "elu", "selu", "gelu"}
BLOCK = 32


class Strengths(NamedTuple):
    """The numbers of each model's penalty, float32 ``(models,)``; 0 where it has none.

    Attributes:
        off: 1 less the target.
    """

    weight: Tensor
    target: Tensor
    off: Tensor

    @staticmethod
    def of(penalties: list[Penalty | None]) -> Strengths:
        weights = [0.0 if one is None else one.weight for one in penalties]
        targets = [one.target if isinstance(one, KL) else 0.0 for one in penalties]
        off = [1.0 - target for target in targets]
        return Strengths(*map(torch.tensor, (weights, targets, off)))


def activate(link: Pointwise, x: Tensor) -> Tensor:
    """Apply an activation to pre-codes ``(models, batch, n)``."""
    if _by_blocks(link, x):
        return torch.stack([link(one) for one in x])
    codes: Tensor = link(x)
    return codes


def backward(link: Pointwise, gradient: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Give the gradient of pre-codes ``x`` from that of codes ``y``, all ``(models, batch, n)``."""
    of_one = ACTIVATIONS[link.name]
    if _by_blocks(link, x):
        return torch.stack([of_one(*own) for own in zip(gradient, x, y, strict=True)])
    return of_one(gradient, x, y)


def _by_blocks(link: Pointwise, x: Tensor) -> bool:
    return link.name in BY_BLOCKS and x[0].numel() % BLOCK != 0


def _mse(divisor: int, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
    difference = passed.x_hat - target
    value = difference.square().sum((1, 2)) / divisor
    return value, difference.mul_(2.0).mul_(target.new_ones(()) / divisor)


def _bce(divisor: int, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = passed.pre_x_hat.clamp_min(LOGIT_MIN)
    log_p = passed.x_hat.log().clamp_min_(LOGIT_MIN)
    value = logits.sub_(log_p).addcmul_(passed.pre_x_hat, target, value=-1.0).sum((1, 2))
    gradient = (passed.x_hat - target).mul_(target.new_ones(()) / divisor)
    return value / divisor, gradient


OF_RECONSTRUCTION: dict[
    type[Reconstruction], Callable[[int, Pass, Tensor], tuple[Tensor, Tensor]]
] = {MSE: _mse, BCE: _bce}
"""Functions by type, from the divisor of one model's batch, the passes and the targets ``(models,
batch, n)`` to the loss ``(models,)`` and its gradient ``(models, batch, n)``."""


def _l1(own: Strengths, codes: Tensor) -> tuple[Tensor, Tensor]:
    scale = own.weight[:, None, None] / codes.shape[1]
    return codes.abs().sum(2).mean(1), codes.sgn().mul_(scale)


def _kl(own: Strengths, codes: Tensor) -> tuple[Tensor, Tensor]:
    mean = codes.mean(1)
    q = mean.clamp(EPSILON, 1.0 - EPSILON)
    # The first row is for being on, the second for being off.
    p = torch.stack((own.target, own.off))[..., None]
    one_over = torch.stack((q, 1.0 - q)).reciprocal_()
    ratio = one_over * p
    value = ratio.log().mul_(p).sum(0).sum(1)
    on, off = (own.weight[:, None] * p / ratio).mul_(p).mul_(one_over.square_())
    return value, (off - on).div_(codes.shape[1]).mul_(mean == q)[:, None]


OF_PENALTY: dict[type, Callable[[Strengths, Tensor], tuple[Tensor, Tensor]]] = {L1: _l1, KL: _kl}
"""Functions by type, from the strengths and the codes ``(models, batch, n_latents)`` to the
unweighted penalties ``(models,)`` and the gradient of the weighted ones, which broadcasts to the
codes."""
