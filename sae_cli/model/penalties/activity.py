"""Penalties on how active codes are, each latent by itself."""

from __future__ import annotations

from abc import ABC
from typing import final

from torch import Tensor

from sae_cli.core.options import NonNegative, OpenUnit
from sae_cli.core.shapes import NON_NEGATIVE, UNIT
from sae_cli.model.penalties.penalty import PENALTIES, ExamplePenalty, Penalty
from sae_cli.model.penalties.roles import OfEachLatent
from sae_cli.model.proximal import Proximal

# This keeps the KL and its gradient finite where the mean activity is exactly 0 or 1.
EPSILON = 1e-7


@PENALTIES.register("none")
def none() -> None:
    """No penalty."""


@final
class L1(ExamplePenalty, Proximal, OfEachLatent):
    """``mean over examples of sum_j |a_j|`` (Olshausen and Field 1996; Tibshirani 1996).

    Scaling codes down and the decoder up lowers it for free: see ``unit_norm_decoder`` of the
    architecture.
    """

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.abs().sum(1)

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Soft thresholding."""
        return codes.sgn() * (codes.abs() - step * self.weight).clamp_min(0.0)


@final
@PENALTIES.register("l2")
class L2(ExamplePenalty, Proximal, OfEachLatent):
    """``mean over examples of sum_j a_j^2``: shrinks every code, makes none exactly zero."""

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.square().sum(1)

    def shrink(self, codes: Tensor, step: float | Tensor) -> Tensor:
        """Divide every code by the same number."""
        return codes / (1.0 + 2.0 * self.weight * step)


class TargetPenalty(Penalty, ABC):
    """A penalty on the distance of each latent's mean activity from a target.

    Args:
        divide_by_batch_size: divide the weight by the training batch size (assembly does), as
            Keras 2, and Keras 3 from 3.14 on, do with every activity penalty.
    """

    def __init__(
        self, *, weight: NonNegative, target: OpenUnit, divide_by_batch_size: bool
    ) -> None:
        super().__init__(weight=weight)
        self.target: float = target
        self.divide_by_batch_size = divide_by_batch_size

    def per_example(self, codes: Tensor) -> Tensor:
        return codes


@final
@PENALTIES.register("kl")
class KL(TargetPenalty, OfEachLatent):
    """``sum_j KL(target || mean activity of latent j)`` between Bernoulli variables.

    ``p log(p/q) + (1-p) log((1-p)/(1-q))`` with p the target and q the observed mean (Ng 2011,
    CS294A lecture notes on sparse auto-encoders). q is clamped to [1e-7, 1 - 1e-7].
    """

    requires = UNIT
    reason = "the KL compares mean activities with a probability"

    def of_mean(self, mean: Tensor) -> Tensor:
        q = mean.clamp(EPSILON, 1.0 - EPSILON)
        p = self.target
        on = p * (p / q).log()
        off = (1.0 - p) * ((1.0 - p) / (1.0 - q)).log()
        return (on + off).sum()


@final
@PENALTIES.register("squared_target")
class SquaredTarget(TargetPenalty, OfEachLatent):
    """``sum_j (mean activity of latent j - target)^2``: unlike the KL it stays bounded."""

    requires = NON_NEGATIVE
    reason = "only a mean of non-negative codes says how often a latent is on"

    def of_mean(self, mean: Tensor) -> Tensor:
        return (mean - self.target).square().sum()
