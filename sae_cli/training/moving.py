"""The steps of the optimizers of several trainings, in as few calls as there are kinds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae_cli.training.moved import Moved
from sae_cli.training.optimizers import Optimizer


class Move(NamedTuple):
    """A step of one optimizer; as the arguments of ``Optimizer.step``."""

    optimizer: Optimizer
    gradients: list[Tensor]
    learning_rate: float


@torch.no_grad()
def move_all(moves: Sequence[Move]) -> Sequence[None]:
    """Make steps of several optimizers, each to the bits that it comes to alone."""
    alike: dict[tuple[type, float, Hashable], list[tuple[Optimizer, Moved]]] = {}
    for one in moves:
        own = one.optimizer
        options = tuple(own.options.items()) or id(own)
        whole = Moved(own.parameters, one.gradients, own.state)
        for rate, moved in whole.by_rate(own.rates):
            key = (type(own), one.learning_rate * rate, options)
            alike.setdefault(key, []).append((own, moved))
    for (_, learning_rate, _), group in alike.items():
        parts = [moved for _, moved in group]
        together = Moved(
            [parameter for part in parts for parameter in part.parameters],
            [gradient for part in parts for gradient in part.gradients],
            {name: [one for part in parts for one in part.state[name]] for name in parts[0].state},
        )
        group[0][0].move(together, learning_rate)
    return [None] * len(moves)
