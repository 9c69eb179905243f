"""Reconstruction losses: how far ``x_hat`` is from the target.

``reduction`` says what happens to the features of one example, ``mean`` or ``sum``; examples are
always averaged.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.registry import Registry
from sae_cli.core.shapes import REALS, UNIT, Interval
from sae_cli.model.autoencoder import Pass

RECONSTRUCTIONS: Registry[Reconstruction] = Registry("reconstruction")

Reduction = Literal["mean", "sum"]

# The logit, and the logarithm, of the smallest probability that is a normal float32.
LOGIT_MIN = math.log(torch.finfo(torch.float32).tiny)


class Reconstruction(ABC):
    """A loss between a pass and its target.

    Attributes:
        targets: the range that targets must lie in.
        output_activations: the output activations it works with; empty means any.
        differentiated: what ``value_and_gradient`` differentiates by.
    """

    targets: Interval = REALS
    output_activations: tuple[str, ...] = ()
    differentiated: Literal["x_hat", "pre_x_hat"] = "x_hat"

    def __init__(self, reduction: Reduction) -> None:
        self.reduction = reduction

    @abstractmethod
    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        """The loss summed over every element of the batch."""

    def __call__(self, passed: Pass, target: Tensor) -> Tensor:
        """Scalar: over features by ``reduction``, mean over examples."""
        return self.elementwise_sum(passed, target) / self.divisor(target)

    def divisor(self, target: Tensor) -> int:
        """What the sum over all elements is divided by."""
        return target.numel() if self.reduction == "mean" else len(target)

    @abstractmethod
    def value_and_gradient(self, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
        """The scalar loss, and its gradient with respect to ``differentiated``.

        Examples may come flattened, ``(batch, n_features)``.
        """


@final
@RECONSTRUCTIONS.register("mse")
class MSE(Reconstruction):
    """``(x_hat - target)^2``."""

    def __init__(self, *, reduction: Reduction) -> None:
        super().__init__(reduction)

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        return F.mse_loss(passed.x_hat, target, reduction="sum")

    def value_and_gradient(self, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
        one = target.new_ones(()) / self.divisor(target)
        gradient = (passed.x_hat - target).mul_(2.0).mul_(one)
        return self(passed, target), gradient


@final
@RECONSTRUCTIONS.register("bce")
class BCE(Reconstruction):
    """``-(target log x_hat + (1 - target) log(1 - x_hat))``, computed from the logits.

    Grey targets have a positive floor, the entropy of the target itself.
    """

    targets = UNIT
    output_activations = ("sigmoid",)
    differentiated = "pre_x_hat"

    def __init__(self, *, reduction: Reduction) -> None:
        super().__init__(reduction)

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(passed.pre_x_hat, target, reduction="sum")

    def value_and_gradient(self, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
        """The value is taken from the probabilities at hand, which spares the slow ``log1p``; of
        each element it equals the other to about the last bit of its logit."""
        logits = passed.pre_x_hat.clamp_min(LOGIT_MIN)
        log_p = passed.x_hat.log().clamp_min_(LOGIT_MIN)
        value = logits.sub_(log_p).addcmul_(passed.pre_x_hat, target, value=-1.0).sum()
        divisor = self.divisor(target)
        gradient = (passed.x_hat - target).mul_(target.new_ones(()) / divisor)
        return value / divisor, gradient
