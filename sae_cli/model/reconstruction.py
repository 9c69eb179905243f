"""Reconstruction losses: how far ``x_hat`` is from the target.

``reduction`` is the ``mean`` or the ``sum`` over the features of one example; examples are always
averaged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, final

from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.registry import Registry
from sae_cli.core.shapes import REALS, UNIT, Interval
from sae_cli.model.autoencoder import Pass

RECONSTRUCTIONS: Registry[Reconstruction] = Registry("reconstruction")

Reduction = Literal["mean", "sum"]


class Reconstruction(ABC):
    """A loss between a pass and its target.

    Args:
        reduction: of the features of one example.

    Attributes:
        targets: the range that targets must lie in.
        output_activations: the output activations it works with; empty means any.
    """

    targets: Interval = REALS
    output_activations: tuple[str, ...] = ()

    def __init__(self, *, reduction: Reduction) -> None:
        self.reduction = reduction

    @abstractmethod
    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        """The loss summed over every element of the batch."""

    def __call__(self, passed: Pass, target: Tensor) -> Tensor:
        """The scalar loss: ``reduction`` over features, mean over examples."""
        return self.elementwise_sum(passed, target) / self.divisor(target)

    def divisor(self, target: Tensor) -> int:
        """The number that the sum over all elements is divided by."""
        return target.numel() if self.reduction == "mean" else len(target)


@final
@RECONSTRUCTIONS.register("mse")
class MSE(Reconstruction):
    """``(x_hat - target)^2``."""

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        return F.mse_loss(passed.x_hat, target, reduction="sum")


@final
@RECONSTRUCTIONS.register("bce")
class BCE(Reconstruction):
    """``-(target log x_hat + (1 - target) log(1 - x_hat))``, computed from the logits.

    Grey targets have a positive floor, the entropy of the target itself.
    """

    targets = UNIT
    output_activations = ("sigmoid",)

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(passed.pre_x_hat, target, reduction="sum")
