"""The steps of the optimizers of several trainings, in as few calls as there are kinds."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sae_cli.training.moved import Moved
from sae_cli.training.optimizers import Optimizer

Rate = tuple[float | Tensor, float]
"""A learning rate, and the factor on it."""


class Move(NamedTuple):
    """A step of one optimizer; as the arguments of ``Optimizer.step``."""

    optimizer: Optimizer
    gradients: list[Tensor]
    learning_rate: float | Tensor


@torch.no_grad()
def move_all(moves: Sequence[Move]) -> Sequence[None]:
    """Make steps of several optimizers, each to the bits that it comes to alone."""
    alike: dict[Hashable, list[tuple[Optimizer, Moved, Rate]]] = {}
    for one in moves:
        own = one.optimizer
        options = tuple(own.options.items()) or id(own)
        whole = Moved(own.parameters, one.gradients, own.state)
        for rate, moved in whole.by_rate(own.rates):
            of_all = one.learning_rate
            # Of a tensor the value is not known here.
            key = (id(of_all), rate) if isinstance(of_all, Tensor) else of_all * rate
            alike.setdefault((type(own), key, options), []).append((own, moved, (of_all, rate)))
    for group in alike.values():
        parts = [moved for _, moved, _ in group]
        together = Moved(
            [parameter for part in parts for parameter in part.parameters],
            [gradient for part in parts for gradient in part.gradients],
            {name: [one for part in parts for one in part.state[name]] for name in parts[0].state},
        )
        optimizer, _, (of_all, rate) = group[0]
        optimizer.move(together, of_all if rate == 1.0 else of_all * rate)
    return [None] * len(moves)
