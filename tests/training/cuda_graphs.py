"""CUDA graphs without a GPU: the operations of a call, recorded with their very tensors.

As on a GPU, recording changes nothing and leaves results that hold nothing yet; a replay runs the
operations alone, without the Python around them, and finds its inputs and leaves its results in the
same memory each time; and no value may be read while it is recorded.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from itertools import zip_longest
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from sae_cli.training import captured

# A GPU is waited for where an operation gives a number to Python, or results of a size that it
# decides; so it is where one is given a mask for indices.
READS = (torch.ops.aten._local_scalar_dense, torch.ops.aten.is_nonzero, torch.ops.aten.equal)
INDEXING = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)


def waits(function: Any, args: Any) -> bool:
    """Whether the host waits for an operation."""
    if function.overloadpacket in INDEXING:
        return any(one is not None and one.dtype == torch.bool for one in args[1])
    return function.overloadpacket in READS or torch.Tag.dynamic_output_shape in function.tags


def launches(function: Any) -> bool:
    """Whether an operation computes; others give a view, or make one of what they are given."""
    if torch.Tag.inplace_view in function.tags:
        return False
    returns = [one.alias_info for one in function._schema.returns]
    return not returns or any(alias is None or alias.is_write for alias in returns)


def tensors(nested: Any) -> list[Tensor]:
    """The tensors in arguments or results, in order."""
    return [one for one in tree_leaves(nested) if isinstance(one, Tensor)]


def written(function: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation changes."""
    given = zip_longest(function._schema.arguments, args)
    return tensors(
        [
            kwargs.get(argument.name) if value is None else value
            for argument, value in given
            if argument.is_write
        ]
    )


class Graph:
    """Stands in for ``torch.cuda.CUDAGraph``.

    Attributes:
        made: all since ``pretend``.
        pool: that it was recorded with.
    """

    made: ClassVar[list[Graph]] = []

    def __init__(self) -> None:
        self.made.append(self)
        self.pool: object = None
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.registered: list[Generator] = []
        self.replays = 0

    def register_generator_state(self, generator: Generator) -> None:
        self.registered.append(generator)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        with _disable_current_modes():
            for function, args, kwargs, results in self.operations:
                found = tensors(function(*args, **kwargs))
                for place, value in zip(results, found, strict=True):
                    if place is not value:
                        # What was squeezed in place since then has another shape.
                        place.view_as(value).copy_(value)


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each operation, without importing PyTorch's compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Recording(Mode):
    """Stands in for ``torch.cuda.graph``."""

    def __init__(
        self, graph: Graph, pool: object = None, capture_error_mode: str = "global"
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = graph
        graph.pool = pool
        self._before: list[tuple[Tensor, Tensor]] = []
        self._made: list[Tensor] = []
        self._states: list[tuple[Generator, Tensor]] = []

    def __enter__(self) -> Any:
        assert not self._graph.operations
        self._states = [(one, one.get_state()) for one in self._graph.registered]
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for tensor, before in reversed(self._before):
                tensor.copy_(before)
            for made in self._made:
                made.fill_(torch.nan if made.is_floating_point() else 0)
        for generator, state in self._states:
            generator.set_state(state)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        assert not waits(func, args), f"{func} waits for a value while a CUDA graph is recorded"
        drawn_from = [one for one in tree_leaves((args, options)) if isinstance(one, Generator)]
        assert {*map(_number, drawn_from)} <= {*map(_number, self._graph.registered)}
        changed = written(func, args, options) if launches(func) else []
        with torch.no_grad():
            self._before += [(one, one.clone()) for one in changed]
        found = func(*args, **options)
        if launches(func):
            # A graph has addresses, which stay when a tensor is given other memory.
            of_graph = tree_map(_same_memory, (args, options, tensors(found)))
            self._graph.operations.append((func, *of_graph))
            given = {one.data_ptr() for one in tensors((args, options))}
            self._made += [one for one in tensors(found) if one.data_ptr() not in given]
        return found


def _same_memory(one: Any) -> Any:
    return one.detach() if isinstance(one, Tensor) else one


def _number(generator: Any) -> int:
    """What the objects that stand for one generator share."""
    number: int = generator._cdata
    return number


class Debug(Mode):
    """Warns of waits as a GPU does in PyTorch's debug mode."""

    mode = 0

    def set(self, mode: int | str) -> None:
        """Stand in for ``torch.cuda.set_sync_debug_mode``."""
        before, self.mode = self.mode, int(mode in (1, "warn"))
        if self.mode > before:
            self.__enter__()  # type: ignore[no-untyped-call]
        if self.mode < before:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func, args):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
        return func(*args, **(kwargs or {}))


class Stream:
    """Stands in for ``torch.cuda.Stream``."""

    def wait_stream(self, other: Stream) -> None: ...


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Put these in the place of CUDA's."""
    debug = Debug()  # type: ignore[no-untyped-call]
    patch.setattr(Graph, "made", [])
    patch.setattr(torch.cuda, "graph_pool_handle", object)
    patch.setattr(captured, "BETWEEN", (*captured.BETWEEN, __file__))
    patch.setattr(torch.cuda, "get_sync_debug_mode", lambda: debug.mode)
    patch.setattr(torch.cuda, "set_sync_debug_mode", debug.set)
    patch.setattr(torch.cuda, "CUDAGraph", Graph)
    patch.setattr(torch.cuda, "graph", Recording)
    patch.setattr(torch.cuda, "Stream", Stream)
    patch.setattr(torch.cuda, "current_stream", Stream)
    patch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
