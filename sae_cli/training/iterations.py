"""The loop of an optimizer that sees the whole training set in each of its iterations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import final

from sae_cli.model.objective import Terms
from sae_cli.training.gradients.over_split import OverSplit
from sae_cli.training.loop import Position
from sae_cli.training.optimizers.lbfgs import LBFGS
from sae_cli.training.sums import Sums


@final
class Iteration:
    """An iteration of an optimizer over a whole split.

    Attributes:
        sums: of the terms of the loss after each iteration, since the last means.
        joining: the processes that share the split, or None.
        notes: as those of a ``Step``.
    """

    notes: Sequence[str] = ()

    def __init__(self, gradients: OverSplit, optimizer: LBFGS) -> None:
        self._gradients = gradients
        self._optimizer = optimizer
        self.joining = gradients.joining
        self.sums = Sums(gradients.term_names, optimizer.parameters[0].device)

    def __call__(self, learning_rate: float) -> Terms:
        """Move the parameters, and return the terms where they have come to."""
        terms = self._optimizer.iterate(self._gradients, learning_rate)
        self.sums.add(terms, 1)
        return terms


def fit_whole(
    iteration: Iteration,
    *,
    learning_rate: float,
    epochs: int,
    iterations: int,
    position: Position,
    on_step: Callable[[Terms, int], None],
) -> Iterator[dict[str, float]]:
    """Train, and after each epoch give the mean of every term over its iterations.

    Args:
        iterations: in an epoch.
        position: where to start; kept up to date, an iteration counting as a batch.
        on_step: called after each iteration, with its terms and a one.

    Raises:
        BrokenError: a term of the loss is not finite; raised at the end of an epoch.
    """
    while position.epoch < epochs:
        while position.batch < iterations:
            terms = iteration(learning_rate)
            position.batch += 1
            if iteration.joining is not None:
                iteration.joining.agree()
            on_step(terms, 1)
        means = iteration.sums.means(iterations)
        position.epoch, position.batch = position.epoch + 1, 0
        yield means
