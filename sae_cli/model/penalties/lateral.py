"""Lateral inhibition: pairs of latents that must not be on together (Gregor, Szlam and LeCun 2011).

For each example the penalty is ``|z|' S |z|`` with S symmetric, non-negative and zero on its
diagonal: ``S_ij`` is the cost of i and j being on together. S is fixed (``lateral``,
``lateral_tree``) or learned (``lateral_learned``). The penalty is not convex.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, final

import torch
from pydantic import Field
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_PAIRED, Count, NonNegative, Positive
from sae_cli.model.penalties.penalty import PENALTIES, ExamplePenalty, Penalty
from sae_cli.model.penalties.roles import Adjusted, InTrees, Shaped
from sae_cli.model.proximal import Majorised

# Rounds of alternating projections onto the set that a learned S stays in.
ROUNDS = 50


Branching = Annotated[int, Field(ge=2, le=MAX_PAIRED)]
"""Children of a node."""


class Lateral(ExamplePenalty, Majorised, Shaped, ABC):
    """``mean over examples of |z|' S |z|``; ``bind_`` makes S."""

    def for_codes(self, shape: tuple[int, ...]) -> Penalty:
        n_latents = math.prod(shape)
        if n_latents > MAX_PAIRED:
            raise ConfigError(
                f"lateral inhibition has a number for each pair of {n_latents} latents; give at "
                f"most {MAX_PAIRED} latents, or choose another penalty"
            )
        bound = copy.deepcopy(self)
        bound.bind_(n_latents)
        return bound

    @abstractmethod
    def bind_(self, n_latents: int) -> None:
        """Make S for this many latents.

        Raises:
            ConfigError: there is no such S.
        """

    @abstractmethod
    def inhibition(self) -> Tensor:
        """S, ``(n_latents, n_latents)``."""

    def per_example(self, codes: Tensor) -> Tensor:
        magnitudes = codes.abs()
        return (magnitudes @ self.inhibition() * magnitudes).sum(1)

    def shrink_from(self, before: Tensor, codes: Tensor, step: float | Tensor) -> Tensor:
        """Soft thresholding of each code by its inhibition ``2 S |z|`` at ``before``.

        With ``L`` the largest eigenvalue of S, ``|z|' S |z|`` is at most ``2 |z|' S |before| +
        L |z - before|^2`` plus a constant, with equality at ``before``, so that a short enough step
        lowers the energy.
        """
        inhibition = 2.0 * self.weight * before.abs() @ self.inhibition().detach()
        return codes.sgn() * (codes.abs() - step * inhibition).clamp_min(0.0)


class Fixed(Lateral, ABC):
    """Lateral inhibition by a fixed S, which ``structure`` gives."""

    def bind_(self, n_latents: int) -> None:
        self._inhibition: Tensor
        self.register_buffer("_inhibition", self.structure(n_latents), persistent=False)

    @abstractmethod
    def structure(self, n_latents: int) -> Tensor:
        """S, ``(n_latents, n_latents)``, of zeros and ones.

        Raises:
            ConfigError: there is no such S for this many latents.
        """

    def inhibition(self) -> Tensor:
        return self._inhibition


@final
@PENALTIES.register("lateral")
class Blocks(Fixed):
    """Inhibition between latents of different blocks, each of ``block_size`` neighbours.

    With ``block_size`` 1 all pairs inhibit each other.
    """

    def __init__(self, *, weight: NonNegative, block_size: Count) -> None:
        super().__init__(weight=weight)
        self.block_size = block_size

    def structure(self, n_latents: int) -> Tensor:
        if n_latents % self.block_size or n_latents <= self.block_size:
            raise ConfigError(
                f"penalty.block_size={self.block_size} does not divide {n_latents} latents into "
                "two blocks or more; choose a divisor, or 1 for inhibition between all"
            )
        block = torch.arange(n_latents) // self.block_size
        return (block[:, None] != block).float()


@final
@PENALTIES.register("lateral_tree")
class Tree(Fixed, InTrees):
    """Inhibition between the nodes of trees, except between ancestors and descendants.

    Only latents on one path from a root can then be on together without cost. Nodes are numbered
    level by level, the ``n_trees`` roots first, each with ``branching`` children until there are
    enough.
    """

    def __init__(
        self,
        *,
        weight: NonNegative,
        branching: Branching,
        n_trees: Count,
    ) -> None:
        super().__init__(weight=weight)
        self.branching = branching
        self.n_trees = n_trees

    @property
    def parents(self) -> Tensor:
        nodes = torch.arange(len(self.inhibition()))
        found = (nodes - self.n_trees) // self.branching
        return found.masked_fill(nodes < self.n_trees, -1)

    def structure(self, n_latents: int) -> Tensor:
        if n_latents <= self.n_trees:
            raise ConfigError(
                f"penalty.n_trees={self.n_trees} needs more than {self.n_trees} latents and there "
                f"are {n_latents}; choose fewer trees"
            )
        related = torch.eye(n_latents)
        for node in range(self.n_trees, n_latents):
            parent = (node - self.n_trees) // self.branching
            # The ancestors of a node are its parent and the ancestors of that parent.
            related[node, : parent + 1] = related[parent, : parent + 1]
        return 1.0 - torch.maximum(related, related.t())


@final
class _Ascending(torch.autograd.Function):
    """Multiplication by a rate whose gradient is reversed, so that the loss is ascended."""

    @staticmethod
    def forward(ctx: Any, scaled: Tensor, rate: float) -> Tensor:
        return rate * scaled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # No rate here: with SGD it would be applied twice.
        return -gradients[0], None


@final
@PENALTIES.register("lateral_learned")
class Learned(Lateral, Adjusted):
    """Inhibition learned by *raising* the penalty: latents often on together inhibit each other.

    Without bounds S would grow forever. It stays symmetric, between 0 and ``bound``, with zeros
    on its diagonal and rows that sum to ``row_sum``; it begins equal for all pairs.

    Args:
        bound: of each entry.
        row_sum: the total inhibition between a latent and all others.
        ascent_rate: how many times faster than a weight the optimizer moves an entry.
    """

    def __init__(
        self, *, weight: NonNegative, bound: Positive, row_sum: Positive, ascent_rate: Positive
    ) -> None:
        super().__init__(weight=weight)
        self.bound = bound
        self.row_sum = row_sum
        self.ascent_rate = ascent_rate

    def bind_(self, n_latents: int) -> None:
        if n_latents < 3 or self.row_sum > self.bound * (n_latents - 1):
            raise ConfigError(
                f"penalty.row_sum={self.row_sum} cannot be shared out among the other "
                f"{n_latents - 1} latents with penalty.bound={self.bound} each; give a smaller "
                "row_sum, or at least three latents"
            )
        same = self.row_sum / (n_latents - 1) * (1.0 - torch.eye(n_latents))
        # S / ascent_rate, because Adam ignores the scale of a gradient: only a smaller parameter
        # makes S itself move faster.
        self.scaled = nn.Parameter(same / self.ascent_rate)

    def inhibition(self) -> Tensor:
        ascending: Tensor = _Ascending.apply(self.scaled, self.ascent_rate)
        return ascending

    @torch.no_grad()
    def after_step_(self) -> None:
        """Move S to the nearest allowed one (Dykstra 1983): alternate between the row sums of a
        symmetric S and the allowed entries, each time with the last correction undone."""
        found = self.ascent_rate * self.scaled
        found = (found + found.t()) / 2.0
        correction = torch.zeros_like(found)
        for _ in range(ROUNDS):
            found = self._with_row_sums(found)
            clipped = (found + correction).clamp(0.0, self.bound).fill_diagonal_(0.0)
            correction = found + correction - clipped
            found = clipped
        self.scaled.copy_(found / self.ascent_rate)

    def _with_row_sums(self, inhibition: Tensor) -> Tensor:
        """The nearest symmetric matrix with the row sums and a diagonal of zeros.

        ``S_ij + u_i + u_j`` for i != j, where ``(n - 2) u_i + sum(u) = row_sum - sum_j S_ij``.
        """
        n = len(inhibition)
        missing = self.row_sum - inhibition.sum(1)
        total = missing.sum() / (2 * n - 2)
        each = (missing - total) / (n - 2)
        return (inhibition + each[:, None] + each).fill_diagonal_(0.0)
