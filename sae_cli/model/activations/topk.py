"""Activations that keep the largest pre-codes: of each example, or of a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Width
from sae_cli.core.shapes import NON_NEGATIVE
from sae_cli.model.activations.activation import ACTIVATIONS, Activation, Learning

Rate = Annotated[float, Field(gt=0, le=1)]
"""The share of a mean that each new value makes up."""


@final
@ACTIVATIONS.register("topk")
class TopK(Activation):
    """``ReLU(TopK_k(pre-codes))``: at most ``k`` codes of each example are active.

    Makhzani and Frey 2013, k-sparse autoencoders; Gao et al. 2024, Scaling and evaluating sparse
    autoencoders. Of equal pre-codes no more are kept than make ``k``. Fewer codes are active where
    fewer pre-codes are positive.
    """

    name = "topk"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self, *, k: Width) -> None:
        super().__init__()
        self.k = k

    def fit_to_(self, widths: Sequence[int]) -> None:
        _check_k(self.k, widths)

    def kept(self, pre_codes: Tensor) -> tuple[Tensor, Tensor]:
        """Values and places of the codes that are kept, both ``(batch, k)``, in no order; other
        codes are 0."""
        values, indices = pre_codes.topk(self.k, dim=1, sorted=False)
        return values.relu(), indices

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        values, indices = self.kept(pre_codes)
        return torch.zeros_like(pre_codes).scatter(1, indices, values)

    def extra_repr(self) -> str:
        return f"k={self.k}"


@final
@ACTIVATIONS.register("batch_topk")
class BatchTopK(Activation, Learning):
    """``ReLU`` of the ``k * batch`` largest pre-codes of a batch: ``k`` active codes on average.

    Bussmann, Leask and Nanda 2024, BatchTopK sparse autoencoders. So that the codes of an example
    do not depend on its batch, those of use are the pre-codes above a threshold. It is learned from
    the training steps, as the exponential mean of each step's smallest positive code; before the
    first step it is 0, and the first step sets it.

    Args:
        k: active codes of an example, on average over a training batch.
        threshold_rate: the share of each step in the threshold.

    Attributes:
        threshold: a scalar, saved with the model.
    """

    name = "batch_topk"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self, *, k: Width, threshold_rate: Rate) -> None:
        super().__init__()
        self.k = k
        self.threshold_rate = threshold_rate
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(()))

    def fit_to_(self, widths: Sequence[int]) -> None:
        _check_k(self.k, widths)
        self.threshold = torch.zeros(())

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return torch.where(pre_codes > self.threshold, pre_codes, 0.0)

    def in_training(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        every = pre_codes.flatten()
        values, indices = every.topk(self.k * len(pre_codes), sorted=False)
        codes = torch.zeros_like(every).scatter(0, indices, values.relu())
        return codes.view_as(pre_codes)

    def learn_(self, codes: Tensor) -> None:
        smallest = torch.where(codes > 0.0, codes, torch.inf).amin()
        # Without a positive code there is nothing to learn.
        smallest = torch.where(smallest.isfinite(), smallest, self.threshold)
        mean = torch.lerp(self.threshold, smallest, self.threshold_rate)
        self.threshold.copy_(torch.where(self.threshold > 0.0, mean, smallest))

    def extra_repr(self) -> str:
        return f"k={self.k}"


def _check_k(k: int, widths: Sequence[int]) -> None:
    if k > min(widths):
        raise ConfigError(
            f"activation.k={k} keeps more codes than the {min(widths)} latents of the model; give "
            "at most that many, or more latents"
        )
