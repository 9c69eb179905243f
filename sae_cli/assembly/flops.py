"""The cost of one pass, in multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sae_cli.model.autoencoder import AutoEncoder

# The multiply-adds of each kind of product, from its arguments and its result.
PRODUCTS: dict[Any, Callable[[Any, Tensor], int]] = {
    F.linear: lambda given, made: made.numel() * given[1].shape[1],
    # A kernel is applied at each place of its output; a transposed one, of its input.
    F.conv2d: lambda given, made: made.numel() * math.prod(given[1].shape[1:]),
    F.conv_transpose2d: lambda given, made: given[0].numel() * math.prod(given[1].shape[1:]),
    # Each step of time (the second axis) uses all weights, of input and state.
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
    """Count the multiply-adds of one example's pass through encoder and decoder.

    The steps of inference are left out.

    Args:
        input_shape: of one example.
    """
    x = torch.zeros(1, *input_shape, device=next(autoencoder.parameters()).device)
    counter = _Counter()
    with counter:
        autoencoder.decoder(autoencoder.activation(autoencoder.encoder(x)))
    return counter.total
