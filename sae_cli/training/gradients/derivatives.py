"""Derivatives by hand: tables from a part of a network or an objective to its derivative.

Each follows autograd operation by operation, with the very kernels that it calls, so that not a bit
differs. A penalty without an entry is left to autograd; with an activation or a reconstruction
without one, so is the whole network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from sae_cli.core.ranks.together import mean_of_batch
from sae_cli.model.autoencoder import Pass
from sae_cli.model.objective import Objective, Terms, sum_terms
from sae_cli.model.penalties.activity import EPSILON, KL, L1
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.model.reconstruction import BCE, MSE, Reconstruction

_aten = torch.ops.aten
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

ACTIVATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "identity": lambda g, x, y: g,
    "relu": lambda g, x, y: _aten.threshold_backward.default(g, y, 0),
    "leaky_relu": lambda g, x, y: _aten.leaky_relu_backward.default(g, x, 0.01, False),
    "leaky_relu_keras": lambda g, x, y: _aten.leaky_relu_backward.default(g, x, 0.3, False),
    "elu": lambda g, x, y: _aten.elu_backward.default(g, 1.0, 1.0, 1.0, False, x),
    "selu": lambda g, x, y: _aten.elu_backward.default(g, _SELU_ALPHA, _SELU_SCALE, 1.0, False, x),
    "gelu": lambda g, x, y: _aten.gelu_backward.default(g, x),
    "silu": lambda g, x, y: _aten.silu_backward.default(g, x),
    "softplus": lambda g, x, y: _aten.softplus_backward.default(g, x, 1.0, 20.0),
    "tanh": lambda g, x, y: _aten.tanh_backward.default(g, y),
    "sigmoid": lambda g, x, y: _aten.sigmoid_backward.default(g, y),
    "hard_sigmoid": lambda g, x, y: _aten.hardsigmoid_backward.default(g, x),
}
"""Functions by name, from the gradient ``g`` of the codes, the pre-codes ``x`` and the codes ``y``
to the gradient of the pre-codes; every shape ``(batch, n)``."""

# The logit, and the logarithm, of the smallest probability that is a normal float32.
LOGIT_MIN = math.log(torch.finfo(torch.float32).tiny)


def _mse(mse: MSE, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
    one = target.new_ones(()) / mse.divisor(target)
    return mse(passed, target), (passed.x_hat - target).mul_(2.0).mul_(one)


def _bce(bce: BCE, passed: Pass, target: Tensor) -> tuple[Tensor, Tensor]:
    """Take the value from the probabilities at hand, which spares the slow ``log1p``: each element
    is off by about the last bit of its logit."""
    logits = passed.pre_x_hat.clamp_min(LOGIT_MIN)
    log_p = passed.x_hat.log().clamp_min_(LOGIT_MIN)
    value = logits.sub_(log_p).addcmul_(passed.pre_x_hat, target, value=-1.0).sum()
    divisor = bce.divisor(target)
    gradient = (passed.x_hat - target).mul_(target.new_ones(()) / divisor)
    return value / divisor, gradient


class OfReconstruction(NamedTuple):
    """The derivative of a reconstruction.

    Attributes:
        by: the part of a pass by which it differentiates.
        value_and_gradient: the scalar loss and its gradient from the reconstruction, a pass and
            its target; examples may be flat, ``(batch, n_features)``.
    """

    by: Literal["x_hat", "pre_x_hat"]
    value_and_gradient: Callable[[Any, Pass, Tensor], tuple[Tensor, Tensor]]


RECONSTRUCTIONS: dict[type[Reconstruction], OfReconstruction] = {
    MSE: OfReconstruction("x_hat", _mse),
    BCE: OfReconstruction("pre_x_hat", _bce),
}


def _l1(l1: L1, codes: Tensor) -> tuple[Tensor, Tensor]:
    return l1(codes), codes.sgn().mul_(codes.new_full((), l1.weight) / len(codes))


def _kl(kl: KL, codes: Tensor) -> tuple[Tensor, Tensor]:
    mean = mean_of_batch(codes.mean(0), len(codes))
    q = mean.clamp(EPSILON, 1.0 - EPSILON)
    # The first row is for being on, the second for being off. The rows are filled on the device,
    # because a copy from the host could not be captured in a CUDA graph.
    p = codes.new_full((2, 1), 1.0 - kl.target)
    p[0].fill_(kl.target)
    one_over = torch.stack((q, 1.0 - q)).reciprocal_()
    ratio = one_over * p
    value = ratio.log().mul_(p).sum(0).sum()
    on, off = (kl.weight * p / ratio).mul_(p).mul_(one_over.square_())
    return value, (off - on).div_(len(codes)).mul_(mean == q)


PENALTIES: dict[type[Penalty], Callable[[Any, Tensor], tuple[Tensor, Tensor]]] = {L1: _l1, KL: _kl}
"""Functions by type, from a penalty and codes ``(batch, n_latents)`` to the unweighted penalty (a
scalar) and the gradient of the weighted one (which broadcasts to the codes)."""


def of_penalty(penalty: Penalty, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The unweighted penalty and the gradient of the weighted one, by autograd if the table has no
    entry."""
    if by_hand := PENALTIES.get(type(penalty)):
        return by_hand(penalty, codes)
    with torch.enable_grad():
        leaf = codes.detach().requires_grad_()
        value = penalty(leaf)
        (gradient,) = torch.autograd.grad(penalty.weight * value, leaf)
    return value.detach(), gradient


def of_objective(
    objective: Objective, passed: Pass, target: Tensor
) -> tuple[Terms, Tensor, Tensor | None]:
    """The terms of one batch and the derivatives of the loss, without a graph.

    Args:
        objective: a reconstruction that has an entry and, at most, a penalty on codes.

    Returns:
        the terms, the gradient of what the reconstruction is differentiated ``by``, and that of
        the codes through the penalty alone (it broadcasts to them; None without a penalty).
    """
    assert objective.reconstruction is not None
    own = RECONSTRUCTIONS[type(objective.reconstruction)]
    value, of_output = own.value_and_gradient(objective.reconstruction, passed, target)
    penalty = objective.penalty
    if penalty is None:
        return sum_terms(value, {}), of_output, None
    raw, of_codes = of_penalty(penalty, passed.codes)
    return sum_terms(value, {"penalty": (penalty.weight * raw, raw)}), of_output, of_codes
