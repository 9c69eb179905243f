"""Gradients of several models at once: a tape that is replayed over stacked tensors.

A step of a small network is mostly the calls that it is made of, and these are as many for one
model as for sixteen. On one thread most operations give each model the bits that it has alone. The
first batches are computed both ways, operation by operation, and an operation that a library rounds
otherwise is left to each model by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sae_cli.training.gradients.batching import Single, Together, batched, filled
from sae_cli.training.gradients.common import Common
from sae_cli.training.gradients.recording import Batch, Model, Recorded, Result, record
from sae_cli.training.gradients.tape import Layout, Operation, Slot, leaves, slots_in

# Weights are zeros, or alike, at a training's first step, and hide some differences.
TRIALS = 3
# In place of a number these take a tensor of one for each model.
WITH_NUMBERS = {"mul", "add", "sub", "div"}
# They give no values, or those that are there.
WITHOUT_VALUES = {"empty_like", "alias", "detach"}


class _Call(NamedTuple):
    """An operation of all models: from the stacked tensors of some slots to those of others."""

    function: Together
    given: tuple[int, ...]
    results: tuple[int, ...]
    in_place: bool
    # Slots that no later operation needs.
    done: tuple[int, ...]


@final
class Stacked:
    """Models with batches of one kind.

    Args:
        common: the tensors of the models.
        recorded: a step of each, alike in all but numbers.

    Attributes:
        fails: whether the models do not get the bits that they have alone.
        recorded: as given.
        by_themselves: operations that each model does by itself.
    """

    def __init__(self, common: Common, recorded: Sequence[Recorded]) -> None:
        self.recorded, self._common = recorded, common
        self._operations = [*zip(*(one.tape.operations for one in recorded), strict=True)]
        self._layouts = [*recorded[0].tape.layouts]
        self._n_slots = len(self._layouts)
        self._numbers: list[Tensor] = []
        self._needed = self._find_needed()
        self._together = [self._batched(own) for own in self._operations]
        self.by_themselves = {i for i, one in enumerate(self._together) if one is None}
        self.fails = False
        self._trials = 0
        self._program = self._compile()

    def __call__(self, batches: Sequence[Batch]) -> list[Result]:
        """Give the terms and gradients of each batch, one of each model."""
        if self.fails:
            return [batch.differentiate() for batch in batches]
        return self._try(batches) if self._trials < TRIALS else self.replay(batches)

    @torch.no_grad()
    def replay(self, batches: Sequence[Batch]) -> list[Result]:
        """Compute all at once."""
        slots = self._begin(batches)
        for function, given, results, in_place, done in self._program:
            found = function(*[slots[i] for i in given])
            if not in_place:
                _put(slots, results, found)
            for i in done:
                slots[i] = None
        return self._results(slots)

    def _begin(self, batches: Sequence[Batch]) -> list[Any]:
        inputs = [torch.stack(own) for own in zip(*(b.inputs for b in batches), strict=True)]
        begun: list[Any] = [*inputs, *self._common.stacked()]
        begun += [None] * (self._n_slots - len(begun))
        return begun + self._numbers

    def _results(self, slots: Sequence[Tensor]) -> list[Result]:
        first = self.recorded[0]
        values = zip(*(slots[i].unbind() for i in first.terms.values()), strict=True)
        gradients = zip(*(slots[i].unbind() for i in first.gradients), strict=True)
        return [
            (dict(zip(first.terms, own, strict=True)), [*of_own])
            for own, of_own in zip(values, gradients, strict=True)
        ]

    def _find_needed(self) -> list[set[int]]:
        """The slots that are needed after each operation; None of its results: it is left out."""
        first = self.recorded[0]
        needed = {*first.terms.values(), *first.gradients}
        after: list[set[int]] = []
        for own in reversed(first.tape.operations):
            after.append(needed)
            if own.in_place or needed.intersection(own.results):
                needed = needed.union(slots_in(own.arguments), slots_in(own.options))
        return after[::-1]

    def _compile(self) -> list[_Call]:
        calls = [self._call(i) for i in self._taken()]
        after = [self._needed[i] for i in self._taken()]
        return [
            call._replace(done=tuple({*call.given, *call.results} - needed))
            for call, needed in zip(calls, after, strict=True)
        ]

    def _taken(self) -> list[int]:
        """The operations that lead to a result."""
        every = zip(self.recorded[0].tape.operations, self._needed, strict=True)
        return [
            i
            for i, (own, needed) in enumerate(every)
            if own.in_place or needed.intersection(own.results)
        ]

    def _call(self, i: int) -> _Call:
        own = self._operations[i]
        first, together = own[0], self._together[i]
        if together is None or i in self.by_themselves:
            given = (*slots_in(first.arguments), *slots_in(first.options))
            return _Call(_one_by_one(own), given, first.results, first.in_place, ())
        function, given = together
        return _Call(function, given, first.results, first.in_place, ())

    def _batched(self, own: Sequence[Operation]) -> tuple[Together, tuple[int, ...]] | None:
        """An operation of all models, and the slots that it needs; None if there is none."""
        first = own[0]
        if any(one[1:3] != first[1:3] for one in own):
            if (numbers := self._numbers_of(own)) is None:
                return None
            self._numbers.append(torch.tensor(numbers))
            slot = Slot(len(self._layouts))
            self._layouts.append(Layout((), (), torch.float32))
            first = first._replace(arguments=(first.arguments[0], slot))
        function = batched(Single(first, self._layouts, len(own)))
        given = (*slots_in(first.arguments), *slots_in(first.options))
        return None if function is None else (function, given)

    def _numbers_of(self, own: Sequence[Operation]) -> list[float] | None:
        """The second argument of each, if these are all that differs and may be a tensor."""
        first = own[0]
        x, *others = first.arguments
        fits = (
            first.name in WITH_NUMBERS
            and not any(one.options for one in own)
            and len(others) == 1
            and isinstance(x, Slot)
            and self._layouts[x.number].dtype == torch.float32
        )
        return [one.arguments[1] for one in own] if fits else None

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
            self._program = self._compile()
            self.fails = found is None or not self._agree(found, alone, models, after)
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
        if [one.number for one in recorded] != [one.number for one in self.recorded]:
            return None
        with torch.no_grad():
            slots = self._begin(batches)
            for i in self._taken():
                if not self._take(i, slots, [one.tape.copies[i] for one in recorded]):
                    return None
            return self._results(slots)

    def _take(self, i: int, slots: list[Any], copies: Sequence[Sequence[Tensor]]) -> bool:
        """Do an operation, for each model by itself where all at once have other bits."""
        own = self._operations[i][0]
        changed = slots[own.results[0]] if own.in_place else None
        before = None if changed is None else changed.clone()
        for _ in range(2):
            call = self._call(i)
            found = call.function(*[slots[j] for j in call.given])
            if not own.in_place:
                _put(slots, call.results, found)
            stacked = [slots[j] for j in own.results]
            if own.name in WITHOUT_VALUES or self._are(i, stacked, copies):
                return True
            self.by_themselves.add(i)
            if changed is not None:
                changed.copy_(before)
        return False

    def _are(self, i: int, stacked: Sequence[Tensor], copies: Sequence[Sequence[Tensor]]) -> bool:
        """Whether the results of an operation that are needed are what each model has alone."""
        own = zip(self._operations[i][0].results, stacked, zip(*copies, strict=True), strict=True)
        return all(
            self._lies_alike(slot, part) and same(part, copy)
            for slot, parts, of_each in own
            if slot in self._needed[i]
            for part, copy in zip(parts, of_each, strict=True)
        )

    def _lies_alike(self, slot: int, part: Tensor) -> bool:
        """Whether a part of a stacked tensor lies in memory as a model's own would."""
        layout = self._layouts[slot]
        given = zip(layout.shape, layout.stride, part.stride(), strict=True)
        return all(size == 1 or own == other for size, own, other in given)


def _states(models: Sequence[Model]) -> list[list[Tensor]]:
    return [model.state() for model in models]


def _restore(models: Sequence[Model], states: Sequence[Sequence[Tensor]]) -> None:
    for model, state in zip(models, states, strict=True):
        model.restore(state)


def _put(slots: list[Any], results: Sequence[int], found: Any) -> None:
    if len(results) == 1 and isinstance(found, Tensor):
        slots[results[0]] = found
        return
    tensors = [one for one in leaves(found) if isinstance(one, Tensor)]
    for i, one in zip(results, tensors, strict=True):
        slots[i] = one


def _one_by_one(own: Sequence[Operation]) -> Together:
    """An operation that each model does by itself."""
    calls = [filled(one.arguments, one.options, one.function) for one in own]
    in_place = own[0].in_place

    def call(*stacked: Tensor) -> Any:
        columns: Iterable[tuple[Tensor, ...]] = (
            zip(*(one.unbind() for one in stacked), strict=True) if stacked else [()] * len(calls)
        )
        found = [one(*column) for one, column in zip(calls, columns, strict=True)]
        if in_place:
            return stacked[0]
        tensors = zip(*([t for t in leaves(one) if t is not None] for one in found), strict=True)
        return [torch.stack(one) for one in tensors]

    return call


def same_results(one: Result, other: Result) -> bool:
    """Whether two results are the same, to the bit."""
    terms = all(same(value, other[0][name]) for name, value in one[0].items())
    return terms and all(map(same, one[1], other[1]))


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bits; one NaN is as another."""
    if one.dtype != other.dtype:
        return False
    if one.dtype != torch.float32:
        return torch.equal(one, other)
    bits, other_bits = one.view(torch.int32), other.view(torch.int32)
    if torch.equal(bits, other_bits):
        return True
    return bool(((bits == other_bits) | (one.isnan() & other.isnan())).all())
