"""The JumpReLU, whose thresholds are learned through a kernel.

The jump at a threshold has no derivative. In its place stands that of the expectation over the data
(Rajamanoharan et al. 2024), estimated from the pre-codes near the threshold: with ``K`` the
rectangle of height 1 on (-1/2, 1/2), ``theta`` the threshold and ``epsilon`` the bandwidth,

    d step / d theta = -K((x - theta) / epsilon) / epsilon
    d jump / d theta = -K((x - theta) / epsilon) theta / epsilon
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Positive
from sae_cli.core.shapes import NON_NEGATIVE
from sae_cli.model.activations.activation import ACTIVATIONS, Activation


@final
@ACTIVATIONS.register("jumprelu")
class JumpReLU(Activation):
    """``x`` where ``x > theta``, 0 elsewhere, with a threshold theta > 0 of each latent.

    Rajamanoharan et al. 2024, Jumping ahead: improving reconstruction fidelity with JumpReLU sparse
    autoencoders. As in the paper the logarithms of the thresholds are learned, which keeps the
    thresholds positive; the gradient of a logarithm has a factor theta more than that of theta.

    Args:
        threshold: of every latent at first.
        bandwidth: epsilon, the width of the kernel.

    Attributes:
        log_threshold: ``(n_latents,)``, the parameter.
    """

    name = "jumprelu"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self, *, threshold: Positive, bandwidth: Positive) -> None:
        super().__init__()
        self.first_threshold = threshold
        self.bandwidth = bandwidth
        self.log_threshold: nn.Parameter
        self.register_parameter("log_threshold", None)

    def fit_to_(self, widths: Sequence[int]) -> None:
        if len(set(widths)) > 1:
            raise ConfigError(
                f"activation=jumprelu has one threshold for each latent, and here it makes the "
                f"codes of layers of {' and '.join(map(str, widths))}; give one layer, or choose "
                "another activation"
            )
        self.log_threshold = nn.Parameter(torch.full((widths[0],), self.first_threshold).log())

    @property
    def threshold(self) -> Tensor:
        """Theta, ``(n_latents,)``."""
        return self.log_threshold.exp()

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return jump(pre_codes, self.threshold, self.bandwidth)

    def active(self, pre_codes: Tensor) -> Tensor:
        """1 where a code is active and 0 elsewhere, ``(batch, n_latents)``, with a gradient to the
        thresholds alone."""
        return step(pre_codes, self.threshold, self.bandwidth)

    def extra_repr(self) -> str:
        return f"bandwidth={self.bandwidth}"


def jump(x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """``x`` where it is above the threshold, 0 elsewhere; the gradient to the threshold is that of
    the kernel.

    Args:
        x: ``(batch, n)``.
        threshold: ``(n,)``.
        bandwidth: of the kernel.
    """
    slope = -threshold.detach() * _kernel(x, threshold, bandwidth)
    return torch.where(x > threshold, x, 0.0) + slope * _zero(threshold)


def step(x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 where ``x`` is above the threshold, 0 elsewhere; arguments and gradient as of ``jump``."""
    slope = -_kernel(x, threshold, bandwidth)
    return (x > threshold).to(slope.dtype) + slope * _zero(threshold)


def _kernel(x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """``K((x - threshold) / bandwidth) / bandwidth``, without a gradient."""
    distance = x.detach() - threshold.detach()
    return (distance.abs() < 0.5 * bandwidth).to(distance.dtype) / bandwidth


def _zero(threshold: Tensor) -> Tensor:
    """Zeros with a gradient of 1 to the threshold."""
    return threshold - threshold.detach()
