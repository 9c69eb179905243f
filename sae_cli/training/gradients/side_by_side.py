"""Gradients of the trainings of one process, found together where their networks can be stacked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import final

from torch import Tensor

from sae_cli.core.company import meet
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.training.gradients.by_hand import ByHand
from sae_cli.training.gradients.derivatives_of_stacks import OF_PENALTY
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.stacked import Batch, Result, Stacked

# The stacked weights of larger models leave the cache between two steps, and gain nothing.
MOST_WEIGHTS = 100_000


def can_stack(model: ByHand) -> bool:
    """Whether a model may be stacked, and gains by it."""
    penalty = model.objective.penalty
    return (
        not model.divides
        and (penalty is None or type(penalty) in OF_PENALTY)
        and model.parameters[0].device.type == "cpu"
        and sum(one.numel() for one in model.parameters) <= MOST_WEIGHTS
    )


@final
class SideBySide(Gradients):
    """Gradients of a chain that are found together with those of other runs of this process.

    Args:
        model: such that ``can_stack`` holds.
    """

    side_by_side = True

    def __init__(self, model: ByHand) -> None:
        self.parameters = model.parameters
        self.term_names = model.term_names
        self._model = model

    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> Result:
        return meet(differentiate_all, Batch(self._model, x, target))


def differentiate_all(batches: Sequence[Batch]) -> list[Result]:
    """Give the terms and the gradients of each batch, those of one shape in one pass."""
    alike: dict[Hashable, list[int]] = {}
    for i, batch in enumerate(batches):
        alike.setdefault((_shape(batch.model), batch.x.shape), []).append(i)
    found: dict[int, Result] = {}
    for numbers in alike.values():
        # In the order of another time they would be another stack.
        numbers.sort(key=lambda i: id(batches[i].model))
        own = [batches[i] for i in numbers]
        found |= zip(numbers, _stack(tuple(batch.model for batch in own))(own), strict=True)
    return [found[i] for i in range(len(batches))]


@lru_cache(maxsize=1024)
def _shape(model: ByHand) -> Hashable:
    """What models must share to be stacked."""
    reconstruction = model.objective.reconstruction
    assert reconstruction is not None
    links = [
        (link.name if isinstance(link, Pointwise) else type(link), *_sizes(model, i))
        for i, link in enumerate(model.links)
    ]
    kinds = type(reconstruction), reconstruction.reduction, type(model.objective.penalty)
    return *links, model.code, *kinds


def _sizes(model: ByHand, i: int) -> Sequence[Hashable]:
    if i not in model.weights():
        return ()
    weight, bias = model.weights()[i]
    return i in model.own, weight.shape, weight.is_contiguous(), bias is None


@lru_cache(maxsize=16)
def _stack(models: tuple[ByHand, ...]) -> Stacked:
    return Stacked(models)
