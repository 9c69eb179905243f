"""The steps of the optimizers of several trainings, in as few calls as there are kinds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae_cli.training.optimizers import Moved, Optimizer


class Move(NamedTuple):
    """A step of one optimizer; as the arguments of ``Optimizer.step``."""

    optimizer: Optimizer
    gradients: list[Tensor]
    learning_rate: float


@torch.no_grad()
def move_all(moves: Sequence[Move]) -> Sequence[None]:
    """Make steps of several optimizers, each to the bits that it comes to alone."""
    alike: dict[Hashable, list[Move]] = {}
    for one in moves:
        options = tuple(one.optimizer.options.items()) or id(one.optimizer)
        alike.setdefault((type(one.optimizer), one.learning_rate, options), []).append(one)
    for group in alike.values():
        optimizers = [one.optimizer for one in group]
        moved = Moved(
            [parameter for own in optimizers for parameter in own.parameters],
            [gradient for one in group for gradient in one.gradients],
            {
                name: [tensor for own in optimizers for tensor in own.state[name]]
                for name in optimizers[0].state
            },
        )
        optimizers[0].move(moved, group[0].learning_rate)
    return [None] * len(moves)
