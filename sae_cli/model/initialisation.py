"""Initial weights of layers, drawn from one generator so that a seed fixes them."""

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
    """Make a linear layer with weight ``(n_out, n_in)`` drawn by ``init``."""
    # PyTorch draws weights in vain; its skip_init would import sympy, which takes half a second.
    layer = nn.Linear(n_in, n_out)
    draw_(layer.weight, layer.bias, init, generator)
    return layer


@torch.no_grad()
def draw_(weight: Tensor, bias: Tensor, init: Init, generator: Generator) -> None:
    """Draw the weight of a layer by ``init``, unless it is on the meta device and has no values.

    Biases are zero, except that ``torch_default`` draws them from
    U(-1/sqrt(n_in), 1/sqrt(n_in)), as PyTorch's own layers do. Glorot and Bengio 2010; He et al.
    2015; LeCun et al. 1998.

    Args:
        weight: ``(n_out, n_in)``; or kernels ``(out, in, height, width)`` of a convolution, or
            ``(in, out, height, width)`` of a transposed one. As in Keras, fan-in and fan-out of
            kernels are the second and first number times the kernel's area: a transposed
            convolution has those of the convolution that it mirrors.
        bias: ``(n_out,)``.
    """
    if weight.is_meta:
        return
    _WEIGHTS[init](weight, generator)
    bound = 1.0 / math.sqrt(weight[0].numel()) if init == "torch_default" else 0.0
    bias.uniform_(-bound, bound, generator=generator)
