"""Heads: from codes to classes."""

from __future__ import annotations

from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sae_cli.core.ranks.together import in_proportion
from sae_cli.model.initialisation import linear
from sae_cli.model.layers import bound_

UNLABELLED = -1


@final
class Head(nn.Module):
    """A linear classifier: codes ``(batch, n_latents)`` to class scores ``(batch, n_classes)``.

    Args:
        normalise: classify ``codes / ||codes||`` (codes that are all zero stay so), so that only
            their direction counts (Rolfe and LeCun 2013).
        max_row_norm: bound on the L2 norm of each class's weights, or None.
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
        bound_(self.linear, max_row_norm, dim=1)

    def forward(self, codes: Tensor) -> Tensor:
        scores: Tensor = self.linear(F.normalize(codes, dim=1) if self.normalise else codes)
        return scores

    def cross_entropy(self, codes: Tensor, labels: Tensor, training: bool = False) -> Tensor:
        """Give the mean cross-entropy of the labelled examples, a scalar in nats; 0 without any.

        Args:
            labels: ``(batch,)`` int64, -1 for unlabelled examples.
            training: whether these may be some rows of a batch that several processes share.
        """
        total: Tensor = F.cross_entropy(
            self(codes), labels, ignore_index=UNLABELLED, reduction="sum"
        )
        n = (labels != UNLABELLED).sum()
        n = in_proportion(n, len(labels)) if training else n
        return total / torch.where(n > 0, n, 1)

    @torch.no_grad()
    def n_right(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Count the labelled examples whose class scores highest."""
        right: Tensor = (self(codes).argmax(1) == labels).sum()
        return right
