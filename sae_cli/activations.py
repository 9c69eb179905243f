"""Activations: from pre-codes to codes, and the range they put codes in.

A penalty may need codes in a range (KL needs (0, 1)); comparing the ranges tells whether the two
go together before any data is loaded.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sae_cli.options import NonNegative
from sae_cli.registry import Registry
from sae_cli.shapes import NON_NEGATIVE, REALS, UNIT, Interval

ActivationName = Literal[
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
]

_FUNCTIONS: dict[ActivationName, tuple[Callable[[Tensor], Tensor], Interval]] = {
    "identity": (lambda x: x, REALS),
    "relu": (torch.relu, NON_NEGATIVE),
    "leaky_relu": (F.leaky_relu, REALS),
    "elu": (F.elu, Interval(-1.0, math.inf)),
    "selu": (torch.selu, Interval(-1.7581, math.inf)),
    "gelu": (F.gelu, Interval(-0.17, math.inf)),
    "silu": (F.silu, Interval(-0.2785, math.inf)),
    "softplus": (F.softplus, NON_NEGATIVE),
    "tanh": (torch.tanh, Interval(-1.0, 1.0)),
    "sigmoid": (torch.sigmoid, UNIT),
    "hard_sigmoid": (F.hardsigmoid, UNIT),
}

ACTIVATIONS: Registry[Activation] = Registry("activation")


class Activation(nn.Module, ABC):
    """Turns pre-codes ``(batch, n)`` into codes ``(batch, n)``.

    Attributes:
        name: the registered name.
        interval: the range that codes lie in.
        active_above: a code counts as active when its magnitude exceeds this (for L0 and dead
            latents): 0 where codes can be exactly zero, a stated threshold where they cannot.
    """

    name: str
    interval: Interval
    active_above: float

    @abstractmethod
    def forward(self, pre_codes: Tensor) -> Tensor: ...


@final
class Pointwise(Activation):
    """A function of each pre-code alone."""

    def __init__(self, name: ActivationName, active_above: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self._function, self.interval = _FUNCTIONS[name]
        self.active_above = active_above

    def forward(self, pre_codes: Tensor) -> Tensor:
        return self._function(pre_codes)

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
    return [name for name, (_, own) in _FUNCTIONS.items() if own.within(interval)]
