"""Gradients of several models at once: a tape that is replayed over stacked tensors.

A step of a small network is mostly the calls that it is made of, and these are as many for one
model as for sixteen. On one thread most operations give each model the bits that it has alone. The
first batches are computed both ways, operation by operation, and an operation that a library rounds
otherwise is left to each model by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from sae_cli.training.gradients.bits import same, same_results
from sae_cli.training.gradients.common import Common
from sae_cli.training.gradients.program import Program
from sae_cli.training.gradients.recording import Batch, Model, Recorded, Result, record

# Weights are zeros, or alike, at a training's first step, and hide some differences.
TRIALS = 3
ROUNDED_OTHERWISE = "together they are rounded otherwise"
# They give no values, or those that are there.
WITHOUT_VALUES = {"empty_like", "detach"}


@final
class Stacked:
    """Models with batches of one kind.

    Args:
        common: the tensors of the models.
        recorded: a step of each, alike in all but numbers.

    Attributes:
        program: of a step of all.
        fails: whether the models do not get the bits that they have alone.
    """

    def __init__(self, common: Common, recorded: Sequence[Recorded]) -> None:
        self._recorded, self._common = recorded, common
        self.program = Program(recorded, common.models[0].own[0].device)
        self.fails = False
        self._trials = 0

    def __call__(self, batches: Sequence[Batch]) -> list[Result]:
        """Give the terms and gradients of each batch, one of each model."""
        if self.fails:
            return [batch.differentiate() for batch in batches]
        return self._try(batches) if self._trials < TRIALS else self.replay(batches)

    @torch.no_grad()
    def replay(self, batches: Sequence[Batch]) -> list[Result]:
        """Compute all at once."""
        slots = self._begin(batches)
        self.program.run(slots)
        return self._results(slots)

    def _begin(self, batches: Sequence[Batch]) -> list[Any]:
        inputs = [torch.stack(own) for own in zip(*(b.inputs for b in batches), strict=True)]
        return self.program.begin([*inputs, *self._common.stacked()])

    def _results(self, slots: Sequence[Tensor]) -> list[Result]:
        first = self._recorded[0]
        values = zip(*(slots[i].unbind() for i in first.terms.values()), strict=True)
        gradients = zip(*(slots[i].unbind() for i in first.gradients), strict=True)
        return [
            (dict(zip(first.terms, own, strict=True)), [*of_own])
            for own, of_own in zip(values, gradients, strict=True)
        ]

    def _try(self, batches: Sequence[Batch]) -> list[Result]:
        """Compute each batch alone, and all at once for comparison."""
        models = [batch.model for batch in batches]
        # It moves the models, and what they are told apart by.
        self._common.stacked()
        before = _states(models)
        alone = [batch.differentiate() for batch in batches]
        after = _states(models)
        _restore(models, before)
        agree = self._trials > 0 and self._agree(self.replay(batches), alone, models, after)
        if not agree:
            _restore(models, before)
            found = self._find_differing(batches)
            self.fails = found is None or not self._agree(found, alone, models, after)
            for one in batches if self.fails else ():
                one.model.apart[one.kind] = ROUNDED_OTHERWISE
        _restore(models, after)
        self._trials += 1
        return alone

    def _agree(
        self,
        found: Sequence[Result],
        alone: Sequence[Result],
        models: Sequence[Model],
        after: Sequence[Sequence[Tensor]],
    ) -> bool:
        """Whether all at once came to what each comes to alone, and left the models so."""
        states = zip(_states(models), after, strict=True)
        return all(map(same_results, found, alone)) and all(
            all(map(same, *pair)) for pair in states
        )

    def _find_differing(self, batches: Sequence[Batch]) -> list[Result] | None:
        """Compute all at once, operation by operation, and find those that have other bits than
        each model alone; None where nothing helps."""
        recorded = [one for batch in batches if (one := record(batch, keeps=True)) is not None]
        if [one.number for one in recorded] != [one.number for one in self._recorded]:
            return None
        with torch.no_grad():
            slots = self._begin(batches)
            for i in self.program.taken:
                if not self._take(i, slots, [one.tape.copies[i] for one in recorded]):
                    return None
            return self._results(slots)

    def _take(self, i: int, slots: list[Any], copies: Sequence[Sequence[Tensor]]) -> bool:
        """Do an operation, for each model by itself where all at once have other bits."""
        own = self.program.operations[i][0]
        changed = slots[own.results[0]] if own.in_place else None
        before = None if changed is None else changed.clone()
        for _ in range(2):
            self.program.call(i).take(slots)
            stacked = [slots[j] for j in own.results]
            if own.name in WITHOUT_VALUES or self._are(i, stacked, copies):
                return True
            self.program.leave_to_each(i)
            if changed is not None:
                changed.copy_(before)
        return False

    def _are(self, i: int, stacked: Sequence[Tensor], copies: Sequence[Sequence[Tensor]]) -> bool:
        """Whether the results of an operation that are needed are what each model has alone."""
        slots, of_each = self.program.operations[i][0].results, zip(*copies, strict=True)
        return all(
            self._lies_alike(slot, part) and same(part, copy)
            for slot, parts, own in zip(slots, stacked, of_each, strict=True)
            if self.program.needs(slot, i)
            for part, copy in zip(parts, own, strict=True)
        )

    def _lies_alike(self, slot: int, part: Tensor) -> bool:
        """Whether a part of a stacked tensor lies in memory as a model's own would."""
        layout = self.program.layouts[slot]
        given = zip(layout.shape, layout.stride, part.stride(), strict=True)
        return all(size == 1 or own == other for size, own, other in given)


def _states(models: Sequence[Model]) -> list[list[Tensor]]:
    return [model.state() for model in models]


def _restore(models: Sequence[Model], states: Sequence[Sequence[Tensor]]) -> None:
    for model, state in zip(models, states, strict=True):
        model.restore(state)
