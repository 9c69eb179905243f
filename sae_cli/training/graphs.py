"""CUDA graphs: launches that a GPU repeats as one, with places for what differs each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, final

import torch
from torch import Generator, Tensor

Found = TypeVar("Found")


@final
class Graph(Generic[Found]):
    """What a function launches, recorded once without running it, and then repeated.

    Args:
        function: of tensors, whose results stay in the same places.
        given: tensors like those of each time.
        generators: what the function draws from, on the GPU.
        pool: the memory that it shares with other graphs, whose results are read before its own
            are made.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Tensor]], Found],
        given: Sequence[Tensor],
        generators: Sequence[Generator],
        pool: Any,
    ) -> None:
        self._places = [one.clone() for one in given]
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self._graph.register_generator_state(generator)
        # Threads that load data may continue their own work.
        recording = torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local")
        with recording:
            self._found = function(self._places)

    def __call__(self, given: Sequence[Tensor]) -> Found:
        torch._foreach_copy_(self._places, [*given])
        self._graph.replay()
        return self._found


@final
class Rates:
    """Learning rates on a GPU, where graphs find them; they are written when one has changed.

    Args:
        n_steps: how many steps have one each.
        n: how many rates a step has.
    """

    def __init__(self, n_steps: int, n: int, device: torch.device) -> None:
        self._places = torch.zeros(n_steps, n, device=device)
        self._of_steps = [[*of_step.unbind()] for of_step in self._places]
        self._written: list[tuple[float, ...]] = []

    def write(self, rates: Sequence[tuple[float, ...]]) -> list[list[Tensor]]:
        """Write the rates of each training, one for each step; return them step by step."""
        if self._written != rates:
            # The numbers are taken before this returns, so that nobody waits for the GPU.
            self._places.copy_(torch.tensor([*zip(*rates, strict=True)]), non_blocking=True)
            self._written = [*rates]
        return self._of_steps
