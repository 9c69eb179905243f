"""L-BFGS: an optimizer of the whole training set at once, which asks for values of the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from sae_cli.core.options import Count, NonNegative, Positive, Steps
from sae_cli.training.optimizers.line_search import Trial, search
from sae_cli.training.optimizers.optimizer import OPTIMIZERS, Mover, Parameters

Terms = dict[str, Tensor]
Evaluate = Callable[[], tuple[Terms, list[Tensor]]]
"""For the parameters as they are: the terms, ``loss`` among them, and its gradient by each."""


@final
@OPTIMIZERS.register("lbfgs")
class LBFGS(Mover):
    """L-BFGS with a line search (Nocedal 1980; Liu and Nocedal 1989).

    All dot products are sums in float64. Pairs of a step and the change of the gradient over it
    stand for the curvature of the loss; without any, the direction is the steepest.

    Args:
        learning_rate, iterations: of the loop that asks for iterations.
        history: how many pairs are kept.
        weight_decay: this times half the sum of squares of all parameters is added to the loss.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        learning_rate: Positive,
        iterations: Steps,
        history: Count,
        weight_decay: NonNegative,
    ) -> None:
        self.parameters = list(parameters)
        self._weight_decay = weight_decay
        now = _flat(self.parameters)
        # More pairs than parameters say nothing new.
        kept = min(history, now.numel())
        self.state = {
            "steps": [now.new_zeros(kept, now.numel())],
            "changes": [now.new_zeros(kept, now.numel())],
            "gradient": [torch.zeros_like(now)],
            "loss": [torch.zeros((), dtype=torch.float64, device=now.device)],
            # How many pairs there are; -1 before the first iteration.
            "pairs": [torch.tensor(-1, device=now.device)],
        }

    @torch.no_grad()
    def iterate(self, evaluate: Evaluate, learning_rate: float) -> Terms:
        """Go down one line, as far as the search finds good; return the terms there.

        Where it finds nothing lower, the pairs are forgotten, and the next direction is the
        steepest; where that was the direction already, the parameters stay where they are.

        Args:
            learning_rate: the first length to try, as a share of the quasi-Newton step.
        """
        if self._pairs < 0:
            loss, gradient, _ = self._evaluate(evaluate)
            self._keep(loss, gradient)
            self._pairs = 0
        gradient = self.state["gradient"][0].clone()
        direction = self._direction(gradient)
        slope = _dot(gradient, direction)
        if not slope < 0.0:
            self._pairs = 0
            return evaluate()[0]
        if not self._pairs:
            # The steepest direction has no length of its own.
            learning_rate /= max(1.0, float(gradient.abs().sum(dtype=torch.float64)))
        origin = _flat(self.parameters)

        def at(length: float) -> Trial:
            self._move_to(torch.add(origin, direction, alpha=length))
            loss, found, terms = self._evaluate(evaluate)
            return Trial(length, loss, _dot(found, direction), found, terms)

        start = Trial(0.0, float(self.state["loss"][0]), slope, gradient, {})
        found = search(at, start, learning_rate)
        self._move_to(torch.add(origin, direction, alpha=found.length))
        if found.length == 0.0:
            self._pairs = 0
            return evaluate()[0]
        self._remember(found.length * direction, found.gradient - gradient)
        self._keep(found.value, found.gradient)
        return found.terms

    def _evaluate(self, evaluate: Evaluate) -> tuple[float, Tensor, Terms]:
        """Give the loss with the weight decay, its gradient, and the terms without."""
        terms, gradients = evaluate()
        gradient, now = _flat(gradients), _flat(self.parameters)
        value = float(terms["loss"]) + 0.5 * self._weight_decay * _dot(now, now)
        return value, gradient.add_(now, alpha=self._weight_decay), terms

    def _direction(self, gradient: Tensor) -> Tensor:
        """Give minus the gradient times the inverse of the curvature, by the recursion of two
        loops (Nocedal and Wright 2006, algorithm 7.4)."""
        n = self._pairs
        pairs = [*zip(self.state["steps"][0][:n], self.state["changes"][0][:n], strict=True)]
        direction, shares = -gradient, []
        for step, change in reversed(pairs):
            shares.append(_dot(step, direction) / _dot(step, change))
            direction.add_(change, alpha=-shares[-1])
        if pairs:
            step, change = pairs[-1]
            direction.mul_(_dot(step, change) / _dot(change, change))
        for (step, change), share in zip(pairs, reversed(shares), strict=True):
            direction.add_(step, alpha=share - _dot(change, direction) / _dot(step, change))
        return direction

    def _remember(self, step: Tensor, change: Tensor) -> None:
        """Keep a pair, in place of the oldest; one without positive curvature is of no use."""
        if _dot(step, change) <= 1e-10 * _dot(change, change):
            return
        for name, new in (("steps", step), ("changes", change)):
            (rows,) = self.state[name]
            if self._pairs == len(rows):
                rows.copy_(rows.roll(-1, 0))
            rows[min(self._pairs, len(rows) - 1)] = new
        self._pairs = min(self._pairs + 1, len(rows))

    def _keep(self, loss: float, gradient: Tensor) -> None:
        self.state["loss"][0].fill_(loss)
        self.state["gradient"][0].copy_(gradient)

    @property
    def _pairs(self) -> int:
        return int(self.state["pairs"][0])

    @_pairs.setter
    def _pairs(self, n: int) -> None:
        self.state["pairs"][0].fill_(n)

    def _move_to(self, flat: Tensor) -> None:
        """Set the parameters to consecutive pieces of one row."""
        pieces = torch.split(flat, [own.numel() for own in self.parameters])
        for own, piece in zip(self.parameters, pieces, strict=True):
            own.copy_(piece.view_as(own))


def iterations_of(section: Mapping[str, Any]) -> int | None:
    """Give the number of iterations of an epoch, where an optimizer sees the whole training set in
    each; None for one that takes batch after batch.

    Args:
        section: its name and options.
    """
    return int(section["iterations"]) if OPTIMIZERS.made_by(section["name"]) is LBFGS else None


def _flat(tensors: list[Tensor]) -> Tensor:
    """Copy tensors to one row."""
    return torch.cat([one.detach().reshape(-1) for one in tensors])


def _dot(one: Tensor, other: Tensor) -> float:
    return float(one.double() @ other.double())
