"""Tapes: the operations by which gradients are found, recorded as they are computed.

What PyTorch computes lies below what Python says and below autograd, so that a tape holds the
kernels of a step, forward and backward, whatever a network and its objective are made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

# What an operation with one of these gives, or how much of it, a later batch may decide otherwise.
UNSTEADY = (
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
)


@dataclass(frozen=True)
class Slot:
    """The number of a tensor, in place of it."""

    number: int


class Layout(NamedTuple):
    """How a tensor lies in memory."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @staticmethod
    def of(tensor: Tensor) -> Layout:
        return Layout(tuple(tensor.shape), tensor.stride(), tensor.dtype)


class Operation(NamedTuple):
    """A call of a kernel.

    Attributes:
        arguments, options: with slots in place of tensors.
        results: the slots of the tensors that it gives.
        in_place: whether it gives its first argument, changed.
    """

    function: OpOverload[Any, Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    results: tuple[int, ...]
    in_place: bool

    @property
    def name(self) -> str:
        """Without its overload and its namespace: ``mul`` for ``aten::mul_.Tensor``."""
        name: str = self.function.overloadpacket.__name__
        return name.removesuffix("_") if self.in_place else name


@final
class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What is computed while this is entered.

    Args:
        given: the tensors that it begins with, which have the first slots.
        keeps: whether to keep a copy of each result.

    Attributes:
        layouts: of the tensor of each slot.
        copies: of the results of each operation, if it keeps them.
        steady: whether other values would have led to the same operations, as far as they tell.
    """

    def __init__(self, given: Sequence[Tensor], *, keeps: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.layouts: list[Layout] = []
        self.copies: list[list[Tensor]] = []
        self.steady = True
        self._keeps = keeps
        self._slots: dict[int, int] = {}
        # The number of an object that has gone may be given to another.
        self._alive: list[Tensor] = []
        for tensor in given:
            self._add(tensor)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # To skip it is to import PyTorch's compiler, which takes longer than a short training.
        return False

    def _add(self, tensor: Tensor) -> int:
        number = len(self._alive)
        self._slots.setdefault(id(tensor), number)
        self._alive.append(tensor)
        self.layouts.append(Layout.of(tensor))
        return number

    def __torch_dispatch__(
        self,
        function: OpOverload[Any, Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        given, by_name = self._with_slots(args), self._with_slots(options)
        found = function(*args, **options)
        results = [one for one in leaves(found) if isinstance(one, Tensor)]
        in_place = bool(args) and found is args[0]
        self.steady = self.steady and _is_steady(function, args, in_place)
        known = id(found) in self._slots
        if in_place and known and Layout.of(found) != self.layouts[self.slot(found)]:
            # From here on it is another view of the same elements.
            self._slots.pop(id(found))
            function, in_place = _out_of_place(function), False
        slots = [self.slot(one) if in_place else self._add(one) for one in results]
        self.operations.append(Operation(function, given, by_name, tuple(slots), in_place))
        if self._keeps:
            self.copies.append([one.clone() for one in results])
        return found

    def _with_slots(self, given: Any) -> Any:
        if isinstance(given, Tensor):
            self.steady = self.steady and id(given) in self._slots
            return Slot(self.slot(given))
        if isinstance(given, tuple | list):
            return type(given)(map(self._with_slots, given))
        if isinstance(given, Mapping):
            return {key: self._with_slots(value) for key, value in given.items()}
        return given

    def slot(self, tensor: Tensor) -> int:
        """The slot of a tensor; -1 if it is none of the tape's."""
        return self._slots.get(id(tensor), -1)

    def end(self) -> None:
        """Let go of the tensors."""
        self._alive.clear()
        self._slots.clear()

    def signature(self) -> tuple[object, ...]:
        """What tapes share that differ in nothing but numbers, hashable."""
        kinds = [
            (own.function, *map(_kind, own.arguments), _kind(own.options), own.results)
            for own in self.operations
        ]
        return (*kinds, *self.layouts)


def _is_steady(function: OpOverload[Any, Any], arguments: Sequence[Any], in_place: bool) -> bool:
    written = [one for one in function._schema.arguments if one.is_write]
    if function.overloadpacket is torch.ops.aten.index:
        # Only a mask gives as many elements as it happens to hold.
        return all(one is None or one.dtype != torch.bool for one in arguments[1])
    return not any(tag in function.tags for tag in UNSTEADY) and len(written) == in_place


def _out_of_place(function: OpOverload[Any, Any]) -> OpOverload[Any, Any]:
    packet = getattr(torch.ops.aten, function.overloadpacket.__name__.removesuffix("_"))
    found: OpOverload[Any, Any] = getattr(packet, function._overloadname)
    return found


def leaves(nested: Any) -> Iterator[Any]:
    """What lists and tuples hold, from the first to the last."""
    if isinstance(nested, tuple | list):
        for one in nested:
            yield from leaves(one)
    else:
        yield nested


def slots_in(nested: Any) -> list[int]:
    """The slots in arguments, in order."""
    values = nested.values() if isinstance(nested, Mapping) else (nested,)
    return [one.number for value in values for one in leaves(value) if isinstance(one, Slot)]


def _kind(argument: Any) -> object:
    """What of an argument two tapes share that differ in numbers: of a fraction its type."""
    if isinstance(argument, tuple | list):
        return tuple(map(_kind, argument))
    if isinstance(argument, Mapping):
        return tuple((key, _kind(value)) for key, value in argument.items())
    return float if isinstance(argument, float) else (type(argument), argument)
