"""How much there is to compute in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sae_cli.model.autoencoder import AutoEncoder

# Of each product, from its arguments and what it makes.
PRODUCTS: dict[Any, Callable[[Any, Tensor], int]] = {
    F.linear: lambda given, made: made.numel() * given[1].shape[1],
    # A kernel is applied at each place of what it makes, or, transposed, of what it is given.
    F.conv2d: lambda given, made: made.numel() * math.prod(given[1].shape[1:]),
    F.conv_transpose2d: lambda given, made: given[0].numel() * math.prod(given[1].shape[1:]),
    # All weights, of input and state, in every one of the steps of time (the second axis).
    torch.lstm: lambda given, made: given[0].shape[1] * sum(w.numel() for w in given[2][:2]),
}


@final
class _Counter(TorchFunctionMode):
    total: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in PRODUCTS:
            self.total += PRODUCTS[func](args, made)
        return made


@torch.no_grad()
def multiply_adds(autoencoder: AutoEncoder, input_shape: tuple[int, ...]) -> int:
    """Multiplications, each with an addition, in the products of one example's pass through encoder
    and decoder. The steps of inference are left out.

    Args:
        input_shape: of one example.
    """
    x = torch.zeros(1, *input_shape, device=next(autoencoder.parameters()).device)
    counter = _Counter()
    with counter:
        autoencoder.decoder(autoencoder.activation(autoencoder.encoder(x)))
    return counter.total
