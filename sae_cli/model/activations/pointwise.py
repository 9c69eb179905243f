"""Activations: from pre-codes to codes, and the range they put codes in.

A penalty may need codes in a range (KL needs (0, 1)); comparing the ranges tells whether the two
go together before any data is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.options import NonNegative
from sae_cli.core.shapes import NON_NEGATIVE, REALS, UNIT, Interval
from sae_cli.model.activations.activation import ACTIVATIONS, Activation

ActivationName = Literal[
    "identity",
    "relu",
    "leaky_relu",
    "leaky_relu_keras",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
]


@dataclass(frozen=True)
class _Function:
    """A function of one number.

    Attributes:
        forward: from pre-codes to codes.
        backward: the gradient of the pre-codes from that of the codes, the pre-codes and the codes;
            the very kernel that autograd would call.
        interval: the range that codes lie in.
    """

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]
    interval: Interval


_aten = torch.ops.aten
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

_FUNCTIONS: dict[ActivationName, _Function] = {
    "identity": _Function(lambda x: x, lambda g, x, y: g, REALS),
    "relu": _Function(
        torch.relu, lambda g, x, y: _aten.threshold_backward.default(g, y, 0), NON_NEGATIVE
    ),
    "leaky_relu": _Function(
        F.leaky_relu, lambda g, x, y: _aten.leaky_relu_backward.default(g, x, 0.01, False), REALS
    ),
    # Keras's LeakyReLU, whose slope is 0.3 unless told otherwise.
    "leaky_relu_keras": _Function(
        lambda x: F.leaky_relu(x, 0.3),
        lambda g, x, y: _aten.leaky_relu_backward.default(g, x, 0.3, False),
        REALS,
    ),
    "elu": _Function(
        F.elu,
        lambda g, x, y: _aten.elu_backward.default(g, 1.0, 1.0, 1.0, False, x),
        Interval(-1.0, math.inf),
    ),
    "selu": _Function(
        torch.selu,
        lambda g, x, y: _aten.elu_backward.default(g, _SELU_ALPHA, _SELU_SCALE, 1.0, False, x),
        Interval(-1.7581, math.inf),
    ),
    "gelu": _Function(
        F.gelu, lambda g, x, y: _aten.gelu_backward.default(g, x), Interval(-0.17, math.inf)
    ),
    "silu": _Function(
        F.silu, lambda g, x, y: _aten.silu_backward.default(g, x), Interval(-0.2785, math.inf)
    ),
    "softplus": _Function(
        F.softplus, lambda g, x, y: _aten.softplus_backward.default(g, x, 1.0, 20.0), NON_NEGATIVE
    ),
    "tanh": _Function(
        torch.tanh, lambda g, x, y: _aten.tanh_backward.default(g, y), Interval(-1.0, 1.0)
    ),
    "sigmoid": _Function(torch.sigmoid, lambda g, x, y: _aten.sigmoid_backward.default(g, y), UNIT),
    "hard_sigmoid": _Function(
        F.hardsigmoid, lambda g, x, y: _aten.hardsigmoid_backward.default(g, x), UNIT
    ),
}


@final
class Pointwise(Activation):
    """A function of each pre-code alone."""

    def __init__(self, name: ActivationName, active_above: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self._function = _FUNCTIONS[name]
        self.interval = self._function.interval
        self.active_above = active_above

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return self._function.forward(pre_codes)

    def backward(self, gradient: Tensor, pre_codes: Tensor, codes: Tensor) -> Tensor:
        """The gradient of the pre-codes from that of the codes; every shape ``(batch, n)``."""
        return self._function.backward(gradient, pre_codes, codes)

    def extra_repr(self) -> str:
        return self.name


def _register(name: ActivationName) -> None:
    @ACTIVATIONS.register(name)
    def pointwise(*, active_above: NonNegative) -> Activation:
        return Pointwise(name, active_above)


for _name in _FUNCTIONS:
    _register(_name)


def activations_within(interval: Interval) -> list[str]:
    """Names of the pointwise activations whose codes lie in ``interval``."""
    return [name for name, own in _FUNCTIONS.items() if own.interval.within(interval)]
