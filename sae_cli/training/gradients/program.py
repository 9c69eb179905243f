"""Programs: a tape made into calls that do each operation for several models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from sae_cli.training.gradients.batching import batched
from sae_cli.training.gradients.calls import Single, Together, call_of
from sae_cli.training.gradients.recording import Recorded
from sae_cli.training.gradients.tape import Layout, Operation, Slot, leaves, slots_in

# In place of a number these take a tensor of one for each model.
WITH_NUMBERS = {"mul", "add", "sub"}
# On a GPU a division by a number is a product with its reciprocal, and one by a tensor is not.
ON_CPU = {"div"}


class Call(NamedTuple):
    """An operation of all models: from the stacked tensors of some slots to those of others."""

    function: Together
    given: tuple[int, ...]
    results: tuple[int, ...]
    in_place: bool
    # Slots that no later operation needs.
    done: tuple[int, ...] = ()

    def take(self, slots: list[Any]) -> None:
        """Do the operation."""
        found = self.function(*[slots[i] for i in self.given])
        if not self.in_place:
            _put(slots, self.results, found)
        for i in self.done:
            slots[i] = None


@final
class Program:
    """The operations of recorded steps that are alike in all but numbers.

    Args:
        recorded: a step of each model.
        device: of the models.

    Attributes:
        operations: of each model, one after the other.
        layouts: of each slot, and of further ones for numbers.
        taken: the numbers of the operations that lead to a result.
    """

    def __init__(self, recorded: Sequence[Recorded], device: torch.device) -> None:
        first = recorded[0]
        self._device = device
        self.operations = [*zip(*(one.tape.operations for one in recorded), strict=True)]
        self.layouts = [*first.tape.layouts]
        self._n_slots = len(self.layouts)
        self._numbers: list[Tensor] = []
        self._needed = self._find_needed({*first.terms.values(), *first.gradients})
        self.taken = [i for i in range(len(self.operations)) if self._leads_on(i)]
        self._together = {i: self._batched(self.operations[i]) for i in self.taken}
        self._calls = self._compile()

    def _find_needed(self, needed: set[int]) -> list[set[int]]:
        """The slots that are needed after each operation, and those at the end."""
        after: list[set[int]] = []
        for own, *_ in reversed(self.operations):
            after.append(needed)
            if own.in_place or needed.intersection(own.results):
                needed = needed.union(slots_in(own.arguments), slots_in(own.options))
        return after[::-1]

    def _leads_on(self, i: int) -> bool:
        own = self.operations[i][0]
        return own.in_place or bool(self._needed[i].intersection(own.results))

    def needs(self, slot: int, after: int) -> bool:
        """Whether a slot is needed after an operation."""
        return slot in self._needed[after]

    def begin(self, tensors: Sequence[Tensor]) -> list[Any]:
        """Give the slots, of which the first are these."""
        return [*tensors, *[None] * (self._n_slots - len(tensors)), *self._numbers]

    def run(self, slots: list[Any]) -> None:
        """Do all operations."""
        for call in self._calls:
            call.take(slots)

    def leave_to_each(self, i: int) -> None:
        """Have each model do an operation by itself."""
        self._together[i] = None
        self._calls = self._compile()

    @property
    def by_themselves(self) -> list[int]:
        """The operations that each model does by itself."""
        return [i for i in self.taken if self._together[i] is None]

    def _compile(self) -> list[Call]:
        made: list[Call] = []
        for i in self.taken:
            call = self.call(i)
            done = {*call.given, *call.results} - self._needed[i]
            made.append(call._replace(done=tuple(done)))
        return made

    def call(self, i: int) -> Call:
        """The call that does an operation, and leaves all slots as they are."""
        own = self.operations[i]
        first, together = own[0], self._together[i]
        if together is None:
            given = (*slots_in(first.arguments), *slots_in(first.options))
            return Call(_one_by_one(own), given, first.results, first.in_place)
        function, given = together
        return Call(function, given, first.results, first.in_place)

    def _batched(self, own: Sequence[Operation]) -> tuple[Together, tuple[int, ...]] | None:
        """An operation of all models, and the slots that it needs; None if there is none."""
        first = own[0]
        if any(one[1:3] != first[1:3] for one in own):
            if (numbers := self._numbers_of(own)) is None:
                return None
            self._numbers.append(torch.tensor(numbers, device=self._device))
            slot = Slot(len(self.layouts))
            self.layouts.append(Layout((), (), torch.float32))
            first = first._replace(arguments=(first.arguments[0], slot))
        function = batched(Single(first, self.layouts, len(own), self._device))
        given = (*slots_in(first.arguments), *slots_in(first.options))
        return None if function is None else (function, given)

    def _numbers_of(self, own: Sequence[Operation]) -> list[float] | None:
        """The second argument of each, if these are all that differs and may be a tensor."""
        first = own[0]
        x, *others = first.arguments
        fits = (
            first.name in (WITH_NUMBERS | ON_CPU if self._device.type == "cpu" else WITH_NUMBERS)
            and not any(one.options for one in own)
            and len(others) == 1
            and isinstance(x, Slot)
            and self.layouts[x.number].dtype == torch.float32
        )
        return [one.arguments[1] for one in own] if fits else None


def _put(slots: list[Any], results: Sequence[int], found: Any) -> None:
    if len(results) == 1 and isinstance(found, Tensor):
        slots[results[0]] = found
        return
    tensors = [one for one in leaves(found) if isinstance(one, Tensor)]
    for i, one in zip(results, tensors, strict=True):
        slots[i] = one


def _one_by_one(own: Sequence[Operation]) -> Together:
    """An operation that each model does by itself."""
    calls = [call_of(one) for one in own]
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
