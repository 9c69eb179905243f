"""Activations that are a function of each pre-code alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.options import NonNegative
from sae_cli.core.shapes import NON_NEGATIVE, REALS, UNIT, Interval
from sae_cli.model.activations.activation import ACTIVATIONS, Activation


class Function(NamedTuple):
    """A function of one number, and the range that its values lie in."""

    of: Callable[[Tensor], Tensor]
    interval: Interval


# A new activation is one line here, and its page; a derivative by hand in
# training/gradients/derivatives.py makes its steps faster.
FUNCTIONS = {
    "identity": Function(lambda x: x, REALS),
    "relu": Function(torch.relu, NON_NEGATIVE),
    "leaky_relu": Function(F.leaky_relu, REALS),
    # Keras's LeakyReLU has a slope of 0.3 by default.
    "leaky_relu_keras": Function(lambda x: F.leaky_relu(x, 0.3), REALS),
    "elu": Function(F.elu, Interval(-1.0, math.inf)),
    "selu": Function(torch.selu, Interval(-1.7581, math.inf)),
    "gelu": Function(F.gelu, Interval(-0.17, math.inf)),
    "silu": Function(F.silu, Interval(-0.2785, math.inf)),
    "softplus": Function(F.softplus, NON_NEGATIVE),
    "tanh": Function(torch.tanh, Interval(-1.0, 1.0)),
    "sigmoid": Function(torch.sigmoid, UNIT),
    "hard_sigmoid": Function(F.hardsigmoid, UNIT),
}

if TYPE_CHECKING:
    ActivationName = str
else:
    # The schema of an option needs the names; a type checker cannot read a computed Literal.
    ActivationName = Literal[tuple(FUNCTIONS)]


@final
class Pointwise(Activation):
    """A function of each pre-code alone."""

    def __init__(self, name: ActivationName, active_above: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self.interval = FUNCTIONS[name].interval
        self.active_above = active_above
        self._function = FUNCTIONS[name].of

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return self._function(pre_codes)

    def extra_repr(self) -> str:
        return self.name


def _register(name: ActivationName) -> None:
    @ACTIVATIONS.register(name)
    def pointwise(*, active_above: NonNegative) -> Activation:
        return Pointwise(name, active_above)


for _name in FUNCTIONS:
    _register(_name)


def activations_within(interval: Interval) -> list[str]:
    """Names of the pointwise activations whose codes lie in ``interval``."""
    return [name for name, function in FUNCTIONS.items() if function.interval.within(interval)]
