"""Steps that a GPU repeats as a single launch."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, final

import torch
from torch import Generator, Tensor

from sae_cli.datasets.batch_rows import BatchRows, Stretch
from sae_cli.datasets.dataset import Split
from sae_cli.model.objective import Terms
from sae_cli.training.graphs import Graph, Rates

Examples: TypeAlias = tuple[Tensor | BatchRows, Tensor | None]
"""The values of a batch and its labels; or its rows, which have labels of their own."""
Given: TypeAlias = Examples | Stretch
Function = Callable[[Sequence[Examples], Sequence[Tensor]], Sequence[Terms]]

# Of a wait for a GPU, PyTorch warns so in its debug mode.
WAITING = "called a synchronizing CUDA operation"
# Files between a warning and the line that has led to it.
BETWEEN = (torch.__path__[0], warnings.__file__, __file__)


@final
class Captured:
    """A function that the GPU repeats from a CUDA graph: one launch in place of some fifty.

    It takes a step of one training, or of several at once. The first calls run plainly, and so does
    every batch of another size. Then the launches of one call are recorded, and repeated for each
    further batch, which is copied to the same place; those of a stretch of batches are a graph of
    their own. Of a batch of rows only their numbers are copied: the graph gathers values and
    labels. A function that waits for the GPU cannot be recorded, and always runs plainly.

    Args:
        function: of a batch and a learning rate of each training.
        batch_size: of the batches to capture.
        generators: what the function draws from, on the GPU.
        warm_up: how many batches run plainly first; at the last of them the function must not wait.

    Attributes:
        waits_at: the file and the line at which the function waits for the GPU, or None.
    """

    # Libraries choose algorithms and take workspaces in their first calls.
    WARM_UP = 3

    def __init__(
        self,
        function: Function,
        batch_size: int,
        generators: Sequence[Generator],
        warm_up: int = WARM_UP,
    ) -> None:
        self._function = function
        self._batch_size = batch_size
        self._generators = generators
        self._left = warm_up
        self.waits_at: str | None = None
        self._graphs: dict[int, Graph[Sequence[Terms]]] = {}
        self._rates: dict[int, Rates] = {}
        self._shared: list[int] | None = None
        self._splits: list[Split | None] = []
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(
        self, given: Sequence[Given], rates: Sequence[tuple[float, ...]]
    ) -> Sequence[Terms]:
        """Take a step of each training, or a stretch of each; return the terms of the last step.

        Args:
            given: what each training has, all of one kind.
            rates: of each training, a learning rate for each batch.
        """
        if not self._is_ready(given):
            steps = zip(*map(batches_of, given), strict=True)
            for step, of_step in zip(steps, zip(*rates, strict=True), strict=True):
                found = self._run_plainly(step, of_step)
            return found
        places = self._write(rates)
        tensors = [one for own in given for one in _tensors(own)]
        n = len(rates[0])
        if n not in self._graphs:
            take = partial(self._take, [*given], places)
            self._graphs[n] = Graph(take, tensors, self._generators, self._pool)
        return self._graphs[n](tensors)

    @property
    def records(self) -> bool:
        """Whether something is recorded."""
        return bool(self._graphs)

    def _is_ready(self, given: Sequence[Given]) -> bool:
        """Whether a graph can take the place of the function."""
        if self._left or self.waits_at is not None or size_of(given[0]) != self._batch_size:
            return False
        splits = [_split_of(own) for own in given]
        if not self._splits:
            self._splits = splits
        # A graph gathers from the splits that it was recorded with.
        return all(own is before for own, before in zip(splits, self._splits, strict=True))

    def _write(self, rates: Sequence[tuple[float, ...]]) -> list[list[Tensor]]:
        """Write learning rates where the steps find them; give those of each step by training.

        Trainings share a place as long as their rates are alike, because an optimizer moves in one
        call what has one rate.
        """
        if self._shared is None or any(
            own != rates[first] for own, first in zip(rates, self._shared, strict=True)
        ):
            # Once they differ they have a place each, and are moved one by one, so that nothing is
            # recorded a third time.
            alike = {own: i for i, own in reversed([*enumerate(rates)])}
            apart = self._shared is not None
            self._shared = [*range(len(rates))] if apart else [alike[own] for own in rates]
            self._graphs.clear()
            # A pool that no graph has any more is not given to another.
            self._pool = torch.cuda.graph_pool_handle()
        n = len(rates[0])
        if n not in self._rates:
            self._rates[n] = Rates(n, len(rates), self._generators[0].device)
        places = self._rates[n].write(rates)
        return [[of_step[first] for first in self._shared] for of_step in places]

    def _run_plainly(self, step: Sequence[Examples], rates: tuple[float, ...]) -> Sequence[Terms]:
        (places,) = self._write([(rate,) for rate in rates])
        warms_up = self._left > 0 and size_of(step[0]) == self._batch_size
        self._left -= warms_up
        last = warms_up and not self._left
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), _waits() if last else nullcontext() as found:
            terms = self._function(step, places)
        self.waits_at = next(iter(found or []), self.waits_at)
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def _take(
        self, given: Sequence[Given], rates: Sequence[Sequence[Tensor]], places: Sequence[Tensor]
    ) -> Sequence[Terms]:
        """Take the steps of what lies in these places."""
        left = iter(places)
        steps = zip(*(batches_of(_placed(own, left)) for own in given), strict=True)
        for step, of_step in zip(steps, rates, strict=True):
            found = self._function(step, of_step)
        return found


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Note where Python waits for the GPU meanwhile.

    A recording that fails leaves generators and the memory of the GPU as if it were still going on.
    """
    places: list[str] = []

    def note(message: Warning | str, *_: object, **__: object) -> None:
        if WAITING in str(message):
            places.append(_place())

    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _place() -> str:
    """Name the line outside of PyTorch that has led to a warning."""
    calls = traceback.extract_stack()
    place = next(one for one in reversed(calls) if not one.filename.startswith(BETWEEN))
    return f"{Path(place.filename).name}, line {place.lineno}"


def batches_of(given: Given) -> list[Examples]:
    """What is given for each step."""
    return [(rows, None) for rows in given.batches()] if isinstance(given, Stretch) else [given]


def size_of(given: Given) -> int:
    """The size of a batch."""
    return given.rows.shape[1] if isinstance(given, Stretch) else len(given[0])


def _split_of(given: Given) -> Split | None:
    rows = given if isinstance(given, Stretch) else given[0]
    return None if isinstance(rows, Tensor) else rows.split


def _tensors(given: Given) -> list[Tensor]:
    """What differs from one time to the next."""
    if isinstance(given, Stretch):
        return [given.rows]
    values, labels = given
    if isinstance(values, BatchRows):
        return [values.rows]
    return [values] if labels is None else [values, labels]


def _placed(given: Given, places: Iterator[Tensor]) -> Given:
    """The same, of tensors that lie in other places."""
    if isinstance(given, Stretch):
        return replace(given, rows=next(places))
    values, labels = given
    if isinstance(values, BatchRows):
        return replace(values, rows=next(places)), None
    return next(places), None if labels is None else next(places)
