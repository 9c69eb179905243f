"""Heads: from codes to classes."""

from __future__ import annotations

from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from sae_cli.initialisation import linear
from sae_cli.norm_bounds import MaxNorm

UNLABELLED = -1


@final
class Head(nn.Module):
    """A linear classifier: class scores ``(batch, n_classes)`` of codes ``(batch, n_latents)``.

    Args:
        normalise: classify ``codes / ||codes||`` (codes that are all zero stay so), so that only
            their direction counts (Rolfe and LeCun 2013).
        max_row_norm: the most that the L2 norm of a class's weights may be, or None.
        generator: draws the initial weights.
    """

    def __init__(
        self,
        n_latents: int,
        n_classes: int,
        *,
        normalise: bool,
        max_row_norm: float | None,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.linear = linear(n_latents, n_classes, "glorot_uniform", generator)
        if max_row_norm is not None:
            bound = MaxNorm(max_row_norm, dim=1)
            # Unsafe means untried: a trial on the meta device would import sympy.
            parametrize.register_parametrization(self.linear, "weight", bound, unsafe=True)

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.linear(F.normalize(codes, dim=1) if self.normalise else codes)
        return scores

    def cross_entropy(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Scalar: the cross-entropy in nats, summed over the labelled examples and divided by all.

        Args:
            labels: ``(batch,)`` int64, -1 where there is none.
        """
        total: Tensor = F.cross_entropy(
            self(codes), labels, ignore_index=UNLABELLED, reduction="sum"
        )
        return total / len(labels)

    @torch.no_grad()
    def n_right(self, codes: Tensor, labels: Tensor) -> Tensor:
        """How many of the labelled examples have their class as the one that scores highest."""
        right: Tensor = (self(codes).argmax(1) == labels).sum()
        return right
