"""A step that a GPU repeats as a single launch."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

import torch
from torch import Generator, Tensor

from sae_cli.datasets.batch_rows import BatchRows
from sae_cli.datasets.dataset import Split
from sae_cli.model.objective import Terms

Taking = Callable[[Tensor | BatchRows, Tensor | None, float], Terms]
Function = Callable[[Tensor | BatchRows, Tensor | None, Tensor], Terms]

# Of a wait for a GPU, PyTorch warns so in its debug mode.
WAITING = "called a synchronizing CUDA operation"
# Files between a warning and the line that has led to it.
BETWEEN = (torch.__path__[0], warnings.__file__, __file__)


@final
class Captured:
    """A function that the GPU repeats from a CUDA graph: one launch in place of some fifty.

    The first calls run plainly, and so does every batch of another size. Then the launches of one
    call are recorded, and repeated for each further batch, which is copied to the same place. Of a
    batch of rows only their numbers are: the graph gathers values and labels. A function that waits
    for the GPU cannot be recorded, and always runs plainly.

    Args:
        function: of a batch, its labels and a learning rate.
        batch_size: of the batches to capture.
        generator: what the function draws from, on the GPU.

    Attributes:
        waits_at: the file and the line at which the function waits for the GPU, or None.
    """

    # Libraries choose algorithms and take workspaces in their first calls.
    WARM_UP = 3

    def __init__(self, function: Function, batch_size: int, generator: Generator) -> None:
        self._function = function
        self._batch_size = batch_size
        self._generator = generator
        self._warm_ups = 0
        self.waits_at: str | None = None
        self._terms: Terms | None = None
        self._graph = torch.cuda.CUDAGraph()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._filled = 0.0
        self._learning_rate = torch.zeros((), device=generator.device)

    def __call__(
        self, target: Tensor | BatchRows, labels: Tensor | None, learning_rate: float
    ) -> Terms:
        if learning_rate != self._filled:
            self._learning_rate.fill_(learning_rate)
            self._filled = learning_rate
        if len(target) != self._batch_size or self.waits_at is not None:
            return self._run_plainly(target, labels)
        if self._warm_ups < self.WARM_UP:
            self._warm_ups += 1
            if self._warm_ups < self.WARM_UP:
                return self._run_plainly(target, labels)
            with _waits() as places:
                terms = self._run_plainly(target, labels)
            self.waits_at = next(iter(places), None)
            return terms
        if self._terms is None:
            self._terms = self._capture(target, labels)
        elif _split_of(target) is not self._split:
            # The graph gathers from the split that it was recorded with.
            return self._run_plainly(target, labels)
        for place, given in zip(self._places, _tensors(target, labels), strict=True):
            place.copy_(given)
        self._graph.replay()
        return self._terms

    def _run_plainly(self, target: Tensor | BatchRows, labels: Tensor | None) -> Terms:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            terms = self._function(target, labels, self._learning_rate)
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def _capture(self, target: Tensor | BatchRows, labels: Tensor | None) -> Terms:
        """Record the launches of one call without running them; return where its terms will be."""
        self._split = _split_of(target)
        self._places = [one.clone() for one in _tensors(target, labels)]
        if isinstance(target, BatchRows):
            target = BatchRows(target.split, self._places[0])
        else:
            target, labels = self._places[0], None if labels is None else self._places[1]
        self._graph.register_generator_state(self._generator)
        # Threads that load data may continue their own work.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            return self._function(target, labels, self._learning_rate)


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


def _split_of(target: Tensor | BatchRows) -> Split | None:
    return target.split if isinstance(target, BatchRows) else None


def _tensors(target: Tensor | BatchRows, labels: Tensor | None) -> list[Tensor]:
    """What differs from one batch to the next."""
    if isinstance(target, BatchRows):
        return [target.rows]
    return [target] if labels is None else [target, labels]
