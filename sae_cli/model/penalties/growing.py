"""The base of penalties whose weight may grow over the first steps of training."""

from __future__ import annotations

from abc import ABC

import torch
from torch import Tensor

from sae_cli.core.options import NonNegative, WarmUpSteps
from sae_cli.model.penalties.penalty import ExamplePenalty
from sae_cli.model.penalties.roles import Adjusted, WarmUp


class Growing(ExamplePenalty, WarmUp, Adjusted, ABC):
    """A penalty of each example, whose weight may grow.

    Args:
        weight: multiplies the penalty.
        warmup_steps: the weight grows linearly from 0 to its value over this many training steps;
            evaluation always uses its full value.
    """

    def __init__(self, *, weight: NonNegative, warmup_steps: WarmUpSteps) -> None:
        super().__init__(weight=weight)
        self.warmup_steps = warmup_steps
        self.steps: Tensor | None
        self.register_buffer("steps", torch.zeros(()) if warmup_steps else None)

    def growth(self) -> Tensor | None:
        return None if self.steps is None else (self.steps / self.warmup_steps).clamp_max(1.0)

    @torch.no_grad()
    def after_step_(self) -> None:
        if self.steps is not None:
            self.steps.add_(1.0)
