"""The penalty of variational auto-encoders: how far codes are from their prior."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from sae_cli.core.options import NonNegative, WarmUpSteps
from sae_cli.model.penalties.penalty import PENALTIES, ExamplePenalty
from sae_cli.model.penalties.roles import Adjusted, OfSamples, WarmUp


@final
@PENALTIES.register("gaussian_kl")
class GaussianKL(ExamplePenalty, OfSamples, WarmUp, Adjusted):
    """``sum_j KL(N(mean_j, variance_j) || N(0, 1))``, for ``activation=gaussian``.

    ``(mean^2 + variance - 1 - log variance) / 2`` (Kingma and Welling 2014). With a reconstruction
    that is summed over features the weight is the beta of Higgins et al. (2017).

    Args:
        warmup_steps: the weight grows linearly from 0 to its value over this many training steps;
            evaluation always uses its full value.
    """

    of = "pre_codes"

    def __init__(self, *, weight: NonNegative, warmup_steps: WarmUpSteps) -> None:
        super().__init__(weight=weight)
        self.warmup_steps = warmup_steps
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros(()))

    def per_example(self, codes: Tensor) -> Tensor:
        mean, log_variance = codes.chunk(2, dim=1)
        return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)

    def growth(self) -> Tensor | None:
        return (self.steps / self.warmup_steps).clamp_max(1.0) if self.warmup_steps else None

    @torch.no_grad()
    def after_step_(self) -> None:
        self.steps.add_(1.0)
