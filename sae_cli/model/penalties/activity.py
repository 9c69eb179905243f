"""Penalties on how active codes are, each latent by itself."""

from __future__ import annotations

from abc import ABC
from typing import final

import torch
from torch import Tensor

from sae_cli.core.options import NonNegative, OpenUnit
from sae_cli.core.shapes import NON_NEGATIVE, UNIT
from sae_cli.model.penalties.penalty import PENALTIES, Penalty

# Keeps the KL and its gradient finite where the mean activity is exactly 0 or 1.
EPSILON = 1e-7


@PENALTIES.register("none")
def none() -> None:
    """No penalty."""


@final
@PENALTIES.register("l1")
class L1(Penalty):
    """``mean over examples of sum_j |a_j|`` (Olshausen and Field 1996; Tibshirani 1996).

    Scaling codes down and the decoder up lowers it for free: see ``unit_norm_decoder`` of the
    architecture.
    """

    exact_shrink = True

    def __init__(self, *, weight: NonNegative) -> None:
        super().__init__()
        self.weight = weight

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.abs().sum(1)

    def of_mean(self, mean: Tensor) -> Tensor:
        return mean

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Soft thresholding."""
        return codes.sgn() * (codes.abs() - step * self.weight).clamp_min(0.0)

    def value_and_gradient(self, codes: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        return self(codes), codes.sgn().mul_(codes.new_full((), weight) / len(codes))


@final
@PENALTIES.register("l2")
class L2(Penalty):
    """``mean over examples of sum_j a_j^2``: shrinks every code, makes none exactly zero."""

    exact_shrink = True

    def __init__(self, *, weight: NonNegative) -> None:
        super().__init__()
        self.weight = weight

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.square().sum(1)

    def of_mean(self, mean: Tensor) -> Tensor:
        return mean

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Every code is divided by the same number."""
        return codes / (1.0 + 2.0 * self.weight * step)


class TargetPenalty(Penalty, ABC):
    """A penalty on how far each latent's mean activity is from a target."""

    def __init__(
        self, *, weight: NonNegative, target: OpenUnit, divide_by_batch_size: bool
    ) -> None:
        super().__init__()
        self.weight = weight
        self.target: float = target
        self.divide_by_batch_size = divide_by_batch_size

    def per_example(self, codes: Tensor) -> Tensor:
        return codes


@final
@PENALTIES.register("kl")
class KL(TargetPenalty):
    """``sum_j KL(target || mean activity of latent j)`` between Bernoulli variables.

    ``p log(p/q) + (1-p) log((1-p)/(1-q))`` with p the target and q the observed mean (Ng 2011,
    CS294A lecture notes on sparse auto-encoders). q is clamped to [1e-7, 1 - 1e-7].
    """

    requires = UNIT
    reason = "the KL compares mean activities with a probability"

    def __init__(
        self, *, weight: NonNegative, target: OpenUnit, divide_by_batch_size: bool
    ) -> None:
        super().__init__(weight=weight, target=target, divide_by_batch_size=divide_by_batch_size)
        self._p: Tensor
        self.register_buffer("_p", torch.tensor([[target], [1.0 - target]]), persistent=False)

    def of_mean(self, mean: Tensor) -> Tensor:
        q = mean.clamp(EPSILON, 1.0 - EPSILON)
        p = self.target
        on = p * (p / q).log()
        off = (1.0 - p) * ((1.0 - p) / (1.0 - q)).log()
        return (on + off).sum()

    def value_and_gradient(self, codes: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        mean = codes.mean(0)
        q = mean.clamp(EPSILON, 1.0 - EPSILON)
        # First row for being on, second for being off.
        one_over = torch.stack((q, 1.0 - q)).reciprocal_()
        ratio = one_over * self._p
        value = (ratio.log().mul_(self._p)).sum(0).sum()
        on, off = (weight * self._p / ratio).mul_(self._p).mul_(one_over.square_())
        return value, (off - on).div_(len(codes)).mul_(mean == q)


@final
@PENALTIES.register("squared_target")
class SquaredTarget(TargetPenalty):
    """``sum_j (mean activity of latent j - target)^2``: unlike the KL it stays bounded."""

    requires = NON_NEGATIVE
    reason = "a mean says how often a latent is on only where codes are not negative"

    def of_mean(self, mean: Tensor) -> Tensor:
        return (mean - self.target).square().sum()
