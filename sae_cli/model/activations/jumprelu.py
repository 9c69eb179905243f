"""The JumpReLU, whose thresholds are learned through a kernel.

The jump at a threshold has no derivative. In its place stands that of the expectation over the data
(Rajamanoharan et al. 2024), estimated from the pre-codes near the threshold: with ``K`` the
rectangle of height 1 on (-1/2, 1/2), ``theta`` the threshold and ``epsilon`` the bandwidth,

    d step / d theta = -K((x - theta) / epsilon) / epsilon
    d jump / d theta = -K((x - theta) / epsilon) theta / epsilon
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd import Function

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
    made: Tensor = _Jump.apply(x, threshold, bandwidth)
    return made


def step(x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 where ``x`` is above the threshold, 0 elsewhere; arguments and gradient as of ``jump``."""
    made: Tensor = _Step.apply(x, threshold, bandwidth)
    return made


# Zeros are made by products, because what fills by a mask goes through one element at a time.
class _Jump(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        made = (x > threshold).to(threshold.dtype).mul_(x.relu())
        ctx.save_for_backward(x, threshold, made)
        ctx.bandwidth = bandwidth
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, threshold, made = ctx.saved_tensors
        near = _sum_near(gradient, x, threshold, ctx.bandwidth)
        of_x = torch.ops.aten.threshold_backward(gradient, made, 0)
        return of_x, -threshold * near, None


class _Step(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(x, threshold)
        ctx.bandwidth = bandwidth
        return (x > threshold).to(threshold.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        x, threshold = ctx.saved_tensors
        return None, -_sum_near(gradient, x, threshold, ctx.bandwidth), None


def _sum_near(gradient: Tensor, x: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Sum ``gradient K((x - threshold) / bandwidth) / bandwidth`` over examples, ``(n,)``."""
    near = (x - threshold).abs_().lt_(0.5 * bandwidth)
    return near.mul_(gradient).sum(0) / bandwidth
