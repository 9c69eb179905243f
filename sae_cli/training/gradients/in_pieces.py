"""Gradients of a large batch, piece by piece, so that what is between stays in fast memory.

A batch of 4096 examples with 4096 latents has codes of 64 MiB, and autograd keeps a dozen arrays of
that size: a processor waits for memory longer than it multiplies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from sae_cli.model.activations.activation import Learning
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective, Terms
from sae_cli.model.penalties.penalty import ExamplePenalty
from sae_cli.model.penalties.targeting import Targeting
from sae_cli.training.gradients.gradients import Gradients

# A piece has at most so many codes: in float32 they are a little less than the largest block that
# the C library keeps for later. Batches of more than LARGE are worth dividing.
PIECE, LARGE = 7 << 20, 1 << 23


def can_divide(autoencoder: AutoEncoder, objective: Objective, batch_size: int) -> bool:
    """Whether :class:`InPieces` can, and pays: every term is a mean of one of each example, nothing
    watches a batch as a whole, and the codes of a batch are many."""
    penalty = objective.penalty
    watched = [one for one in objective.watchers if not _idle(one)]
    return (
        batch_size * autoencoder.n_latents >= LARGE
        and autoencoder.infer is None
        and not isinstance(autoencoder.activation, Learning)
        and objective.reconstruction is not None
        and (penalty is None or isinstance(penalty, ExamplePenalty))
        and objective.head is None
        and not objective.further
        and not watched
    )


def _idle(watcher: object) -> bool:
    return isinstance(watcher, Targeting) and watcher.target_l0 is None


def pieces(n: int, n_latents: int) -> list[tuple[slice, float]]:
    """The rows of each piece of a batch of ``n``, and its share of the batch."""
    rows = math.ceil(n / math.ceil(n * n_latents / PIECE))
    return [(slice(first, first + rows), min(rows, n - first) / n) for first in range(0, n, rows)]


def add_terms(terms: Sequence[Terms]) -> Terms:
    """Sum each term."""
    return {name: torch.stack([one[name] for one in terms]).sum() for name in terms[0]}


@final
class InPieces(Gradients):
    """The gradients of a batch, as the mean of those of its pieces.

    Args:
        gradients: of a piece.
        n_latents: of the auto-encoder; ``can_divide`` holds.
    """

    def __init__(self, gradients: Gradients, n_latents: int) -> None:
        self.parameters = gradients.parameters
        self.term_names = gradients.term_names
        self._gradients = gradients
        self._n_latents = n_latents

    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Terms, list[Tensor]]:
        terms: list[Terms] = []
        sums = [torch.zeros_like(parameter) for parameter in self.parameters]
        for piece, share in pieces(len(x), self._n_latents):
            own, gradients = self._gradients(
                x[piece], target[piece], noise=None if noise is None else noise[piece]
            )
            terms.append({name: share * value for name, value in own.items()})
            for total, gradient in zip(sums, gradients, strict=True):
                total.add_(gradient, alpha=share)
        return add_terms(terms), sums
