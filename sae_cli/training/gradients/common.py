"""The tensors of several models in common memory, so that they are stacked without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sae_cli.training.gradients.recording import Model

# A model's tensors begin at a multiple of so many elements, as in memory of their own.
ALIGNED = 16


@final
class Common:
    """Tensors of several models, like to like.

    Args:
        models: with dense tensors of the same layouts, which are moved.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models
        self._stacked: list[Tensor] = []
        self._places: list[int] = []

    def stacked(self) -> list[Tensor]:
        """Give each tensor of all models, ``(models, ...)``; a change there is one of theirs."""
        # In the company of others a model has moved.
        if self._places != [model.own[0].data_ptr() for model in self.models]:
            every = zip(*(model.own for model in self.models), strict=True)
            self._stacked = [_move_in(own) for own in every]
            self._places = [model.own[0].data_ptr() for model in self.models]
        return self._stacked


@torch.no_grad()
def _move_in(tensors: Sequence[Tensor]) -> Tensor:
    """Give one tensor ``(models, ...)``, of which each of these is made a part."""
    first = tensors[0]
    rooms = first.new_zeros(len(tensors), -(-first.numel() // ALIGNED) * ALIGNED)
    strides = (rooms.stride(0), *first.stride())
    common = rooms.as_strided((len(tensors), *first.shape), strides)
    for own, part in zip(tensors, common.unbind(), strict=True):
        part.copy_(own)
        own.data = part
    return common


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor fills the memory that it spans."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() == 1 + sum((size - 1) * stride for size, stride in sizes)
