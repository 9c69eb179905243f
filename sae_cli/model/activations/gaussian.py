"""The activation of variational auto-encoders: codes drawn from a normal distribution."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sae_cli.core.options import NonNegative
from sae_cli.core.shapes import REALS
from sae_cli.model.activations.activation import ACTIVATIONS, Activation


@final
@ACTIVATIONS.register("gaussian")
class Gaussian(Activation):
    """Codes drawn from a normal distribution: ``mean + exp(log_variance / 2) * noise``.

    Pre-codes are the means of all latents, then the logarithms of their variances. Without noise
    the codes are the means, as in every evaluation (Kingma and Welling 2014).
    """

    interval = REALS
    pre_codes_per_latent = 2
    name = "gaussian"

    def __init__(self, *, active_above: NonNegative) -> None:
        super().__init__()
        self.active_above = active_above

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        mean, log_variance = pre_codes.chunk(2, dim=1)
        return mean if noise is None else mean + (0.5 * log_variance).exp() * noise
