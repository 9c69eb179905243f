"""Initial weights of linear layers, drawn from one generator so that a seed fixes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor, nn

Init = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "torch_default"
]

_WEIGHTS: dict[Init, Callable[[Tensor, Generator], Tensor]] = {
    "glorot_uniform": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "glorot_normal": lambda w, g: nn.init.xavier_normal_(w, generator=g),
    "he_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "he_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "lecun_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="linear", generator=g),
    "torch_default": lambda w, g: nn.init.kaiming_uniform_(w, a=math.sqrt(5), generator=g),
}


def linear(n_in: int, n_out: int, init: Init, generator: Generator) -> nn.Linear:
    """A linear layer with weight ``(n_out, n_in)`` drawn by ``init``.

    Biases are zero, but for ``torch_default``, which draws them from U(-1/sqrt(n_in), 1/sqrt(n_in))
    as PyTorch's own layers do. On the meta device, where tensors have no values, none are drawn.
    Glorot and Bengio 2010; He et al. 2015; LeCun et al. 1998.
    """
    # Its own first weights are drawn in vain; torch's skip_init would import sympy, half a second.
    layer = nn.Linear(n_in, n_out)
    if layer.weight.is_meta:
        return layer
    _WEIGHTS[init](layer.weight, generator)
    bound = 1.0 / math.sqrt(n_in) if init == "torch_default" else 0.0
    with torch.no_grad():
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
