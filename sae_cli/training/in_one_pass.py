"""Steps of several trainings that a GPU takes in one pass.

A step of a small network is launches, not arithmetic, and these are nearly as many for one network
as for a hundred. What stacks is stacked; the rest follows one by one, within the same CUDA graph.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import NamedTuple, final

import torch
from torch import Tensor

from sae_cli.datasets.batch_rows import BatchRows, Stretch
from sae_cli.model.objective import Terms
from sae_cli.training.captured import Captured, Examples, Given, batches_of, size_of
from sae_cli.training.gradients.recording import Result
from sae_cli.training.gradients.side_by_side import SideBySide, Stacks, differentiate_all
from sae_cli.training.gradients.stacked import TRIALS
from sae_cli.training.moving import Move, move_all
from sae_cli.training.sums import add_all
from sae_cli.training.update import Seen, Update

# Those who come so often without the others, one time after the other, are better off apart.
PATIENCE = 256


class Brought(NamedTuple):
    """What a training brings to a pass.

    Attributes:
        batch_size: of all batches but the last of an epoch.
        given: a batch of it, or a stretch.
        rates: a learning rate for each batch.
    """

    update: Update
    batch_size: int
    given: Given
    rates: tuple[float, ...]


def pass_all(brought: Sequence[Brought]) -> list[Terms]:
    """Take the steps of several trainings, those of one kind in one pass; give their terms."""
    alike: dict[Hashable, list[int]] = {}
    for i, one in enumerate(brought):
        kind = isinstance(one.given, Stretch), size_of(one.given), one.batch_size
        alike.setdefault(kind, []).append(i)
    found: dict[int, Terms] = {}
    for numbers in alike.values():
        # In the order of another time they would be another group.
        numbers.sort(key=lambda i: id(brought[i].update))
        own = [brought[i] for i in numbers]
        found |= zip(numbers, _pass(own), strict=True)
    return [found[i] for i in range(len(brought))]


def _pass(brought: Sequence[Brought]) -> Sequence[Terms]:
    group = _group_of([one.update for one in brought], brought[0].batch_size)
    if group is None:
        return [_plainly(one) for one in brought]
    return group([one.given for one in brought], [one.rates for one in brought])


def _plainly(brought: Brought) -> Terms:
    update = brought.update
    device = update.optimizer.parameters[0].device
    for (values, labels), rate in zip(batches_of(brought.given), brought.rates, strict=True):
        # A graph has it in this precision, and so has a training that is taken alone.
        terms = update(values, labels, torch.full((), rate, device=device))
    return terms


@final
class Group:
    """Trainings whose steps are taken in one pass, and whose tensors lie together in memory.

    Attributes:
        captured: takes the steps.
        missed: how often some have come without the others since all came.
    """

    def __init__(self, updates: Sequence[Update], batch_size: int) -> None:
        self.updates = updates
        self.missed = 0
        self._batch_size = batch_size
        self._stacks = Stacks(None)
        self._capture()

    def _capture(self) -> None:
        self._places = self._find_places()
        take = partial(update_all, self.updates, stacks=self._stacks)
        generators = [one.generator for one in self.updates]
        # What stacks is computed both ways at first, and compared, which waits for the GPU.
        warm_up = TRIALS + Captured.WARM_UP
        self.captured = Captured(take, self._batch_size, generators, warm_up)

    def _find_places(self) -> list[int]:
        return [one.optimizer.parameters[0].data_ptr() for one in self.updates]

    def __call__(
        self, given: Sequence[Given], rates: Sequence[tuple[float, ...]]
    ) -> Sequence[Terms]:
        """Take a step of each, or a stretch of each; return the terms of the last step."""
        if self._places != self._find_places():
            # A graph changes what lies where the tensors were when it was recorded.
            self._capture()
        found = self.captured(given, rates)
        if not self.captured.records:
            # The first steps move them together.
            self._places = self._find_places()
        return found


def _group_of(updates: Sequence[Update], batch_size: int) -> Group | None:
    """Give the group of these trainings; None while others of theirs may come back.

    After a resumption from different steps they come apart for a while in each epoch, and to move
    their tensors each time would take longer than plain steps.
    """
    groups = [one.group for one in updates if isinstance(one.group, Group)]
    whole = len(groups) == len(updates) and all(own is groups[0] for own in groups)
    if whole and groups[0].updates == updates:
        groups[0].missed = 0
        return groups[0]
    waited_for = [
        own
        for own in dict.fromkeys(groups)
        if any(not one.ended for one in own.updates if one not in updates)
    ]
    for own in waited_for:
        own.missed += 1
    if any(own.missed < PATIENCE for own in waited_for):
        return None
    group = Group(updates, batch_size)
    for one in updates:
        one.group = group
    return group


def update_all(
    updates: Sequence[Update],
    examples: Sequence[Examples],
    rates: Sequence[float | Tensor],
    stacks: Stacks | None = None,
) -> list[Terms]:
    """Update several trainings by a batch each, of one size; return the terms of each.

    Args:
        stacks: of their gradients.
    """
    pairs = zip(updates, gather_all(examples), strict=True)
    seen = [one.see(values, labels) for one, (values, labels) in pairs]
    results = _differentiate(updates, seen, stacks)
    moves = zip(updates, results, rates, strict=True)
    move_all([Move(one.optimizer, one.clipped(found), rate) for one, (_, found), rate in moves])
    for one in updates:
        one.after()
    terms = [own for own, _ in results]
    add_all([one.sums for one in updates], terms, len(seen[0].x))
    return terms


def _differentiate(
    updates: Sequence[Update], seen: Sequence[Seen], stacks: Stacks | None
) -> list[Result]:
    """Find the gradients of each: together where they stack, one after the other where not."""
    found: dict[int, Result] = {}
    together = {
        i: one.gradients for i, one in enumerate(updates) if isinstance(one.gradients, SideBySide)
    }
    batches = [own.batch(*seen[i]) for i, own in together.items()]
    found |= zip(together, differentiate_all(batches, stacks), strict=True)
    for own in together.values():
        own.note_apart()
    return [found[i] if i in found else one.gradients(*seen[i]) for i, one in enumerate(updates)]


def gather_all(examples: Sequence[Examples]) -> list[tuple[Tensor, Tensor | None]]:
    """Give the values and labels of each batch; those of one split are gathered in one call."""
    batches = [values for values, _ in examples if isinstance(values, BatchRows)]
    first = batches[0] if batches else None
    if first is None or len(batches) < len(examples) or not all(map(first.lies_with, batches)):
        return [
            (one.values(), one.labels()) if isinstance(one, BatchRows) else (one, labels)
            for one, labels in examples
        ]
    rows = torch.stack([one.rows for one in batches])
    every = BatchRows(first.split, rows.flatten())
    values, labels = every.values(), every.labels()
    of_each = values.view(*rows.shape, *values.shape[1:]).unbind()
    if labels is None:
        return [(own, None) for own in of_each]
    return [*zip(of_each, labels.view(rows.shape).unbind(), strict=True)]
