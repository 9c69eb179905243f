"""Gradients of the trainings of one process, found together where their networks can be stacked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import final

from torch import Tensor

from sae_cli.core.company import meet
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.training.gradients.by_hand import ByHand
from sae_cli.training.gradients.common import Common, is_dense
from sae_cli.training.gradients.compiled import Compiled
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.in_pieces import InPieces
from sae_cli.training.gradients.recording import TOO_LONG, Batch, Model, Result, record
from sae_cli.training.gradients.stacked import Stacked

# No step has so many operations that more gain by it, and all gradients are kept at once.
MOST_WEIGHTS = 1_000_000
# A group on a CPU has half as many jobs, with two sizes of batches each.
MOST_STACKS = 32
# What may hold state that no tensor shows is left to itself.
KNOWN = ("sae_cli.", "torch.nn.")


def why_apart(gradients: Gradients, modules: tuple[AutoEncoder, Objective]) -> str | None:
    """Say why the gradients of these modules cannot be found with those of others; None if they
    can."""
    parts = [part for module in modules for part in module.modules()]
    own = [one for part in parts for one in (*part.parameters(False), *part.buffers(False))]
    known = all(map(_is_known, [*parts, modules[0].infer, modules[1].reconstruction]))
    if not known or any(part._forward_hooks or part._forward_pre_hooks for part in parts):
        return "parts of your own may keep something from one to the next"
    if not all(map(is_dense, own)):
        return "their weights are not dense"
    if isinstance(gradients, Compiled):
        return "they are compiled"
    in_pieces = isinstance(gradients, InPieces) or (
        isinstance(gradients, ByHand) and gradients.divides
    )
    n_weights = sum(one.numel() for one in gradients.parameters)
    return TOO_LONG if in_pieces or n_weights > MOST_WEIGHTS else None


def _is_known(part: object) -> bool:
    whole = part.func if isinstance(part, partial) else part
    return whole is None or type(whole).__module__.startswith(KNOWN)


@final
class SideBySide(Gradients):
    """Gradients that are found together with those of other runs of this process.

    Args:
        gradients: of the modules, such that ``why_apart`` gives no reason.
        modules: the auto-encoder and its objective.
    """

    side_by_side = True

    def __init__(self, gradients: Gradients, modules: tuple[AutoEncoder, Objective]) -> None:
        self.parameters = gradients.parameters
        self.term_names = gradients.term_names
        self.capturable = gradients.capturable
        self._model = Model(gradients, modules)
        # The last batch of an epoch may be another one, the first is not.
        self._usual: Hashable = None

    def __call__(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> Result:
        batch = self.batch(x, target, labels, noise)
        # What others cannot help with does not wait for them.
        self.side_by_side = self._model.recorded.get(batch.kind, batch) is not None
        if not self.side_by_side:
            return batch.differentiate()
        result = meet(differentiate_all, batch)
        self.note_apart()
        return result

    def batch(
        self, x: Tensor, target: Tensor, labels: Tensor | None = None, noise: Tensor | None = None
    ) -> Batch:
        """Give what ``differentiate_all`` takes."""
        batch = Batch(self._model, x, target, labels, noise)
        if self._usual is None:
            self._usual = batch.kind
        return batch

    def note_apart(self) -> None:
        """Note why they were found apart from those of others, if they were."""
        self.apart = self._model.apart.get(self._usual)


def differentiate_all(batches: Sequence[Batch], stacks: Stacks | None = None) -> list[Result]:
    """Give the terms and the gradients of each batch, those of one kind in one pass.

    Args:
        stacks: what is kept of earlier batches; None for what is kept for all.
    """
    if len(batches) == 1:
        return [batches[0].differentiate()]
    alike: dict[Hashable, list[int]] = {}
    for i, batch in enumerate(batches):
        kind = _kind(batch)
        alike.setdefault(i if kind is None else (kind,), []).append(i)
    found: dict[int, Result] = {}
    for numbers in alike.values():
        # In the order of another time they would be another stack.
        numbers.sort(key=lambda i: id(batches[i].model))
        own = [batches[i] for i in numbers]
        if len(own) == 1:
            found[numbers[0]] = own[0].differentiate()
        else:
            stack = (stacks or _stacks)(tuple(batch.model for batch in own), own[0].kind)
            found |= zip(numbers, stack(own), strict=True)
    return [found[i] for i in range(len(batches))]


def _kind(batch: Batch) -> int | None:
    """The number of what batches share that can be computed in one pass; None if it cannot."""
    recorded = batch.model.recorded
    if batch.kind not in recorded:
        recorded[batch.kind] = record(batch)
    own = recorded[batch.kind]
    return None if own is None else own.number


@final
class Stacks:
    """Models that are stacked, by what they have had batches of.

    Args:
        most: as many are kept; None for all.
    """

    def __init__(self, most: int | None) -> None:
        common = lru_cache(most)(Common)
        self._stacked = lru_cache(most)(partial(_stack, common))

    def __call__(self, models: tuple[Model, ...], kind: Hashable) -> Stacked:
        """Give those of models with batches of a kind."""
        return self._stacked(models, kind)


def _stack(
    common: Callable[[tuple[Model, ...]], Common], models: tuple[Model, ...], kind: Hashable
) -> Stacked:
    recorded = [model.recorded[kind] for model in models]
    return Stacked(common(models), [one for one in recorded if one is not None])


_stacks = Stacks(MOST_STACKS)
