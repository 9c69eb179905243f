"""Logarithms of the probabilities that a logistic output gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Logs(NamedTuple):
    """Logarithms of probabilities ``p``, each as exact as its own size allows.

    Attributes:
        on: ``log p``, of any shape.
        off: ``log(1 - p)``, of the same.
    """

    on: Tensor
    off: Tensor

    def likelihood(self, target: Tensor, at_least: float | None = None) -> Tensor:
        """Compute ``target * on + (1 - target) * off``, element by element.

        Args:
            at_least: what smaller logarithms count as; by default they are taken as they are.
        """
        on, off = self.on, self.off
        if at_least is not None:
            on, off = on.clamp_min(at_least), off.clamp_min(at_least)
        return off.lerp(on, target)


def log_probabilities(logits: Tensor) -> Logs:
    """Compute the logarithms of ``sigmoid(logits)`` and of the rest to 1.

    They are ``min(x, 0) - s`` and ``min(-x, 0) - s``, with ``s = log(1 + exp(-|x|))``.
    """
    softplus = logits.abs().neg_().exp_().log1p_()
    off = logits.neg().clamp_max_(0.0).sub_(softplus)
    return Logs(logits.clamp_max(0.0).sub_(softplus), off)
