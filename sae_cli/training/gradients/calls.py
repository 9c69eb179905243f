"""Calls of operations, with tensors in the places of slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae_cli.training.gradients.tape import Layout, Operation, Slot, slots_in


class Single(NamedTuple):
    """An operation of one model, and the layouts of its tensors.

    Attributes:
        device: of the tensors.
    """

    operation: Operation
    layouts: Sequence[Layout]
    n_models: int
    device: torch.device

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.operation.arguments

    def rank(self, i: int) -> int:
        """The number of axes of an argument that is a tensor."""
        return len(self.layouts[self.arguments[i].number].shape)

    def result(self) -> Layout:
        return self.layouts[self.operation.results[0]]


Together = Callable[..., Any]
"""Takes the stacked tensors of an operation, in the order of its slots."""
Rule = Callable[[Single], Together | None]


def call_of(operation: Operation) -> Together:
    """A call of an operation with tensors in the places of its slots."""
    return filled(operation.arguments, operation.options, operation.function)


def filled(
    arguments: Sequence[Any], options: Mapping[str, Any], function: Callable[..., Any]
) -> Together:
    """A call of a function with tensors in the places of the slots of its arguments."""
    bound = partial(function, **options) if options else function
    places = [i for i, one in enumerate(arguments) if isinstance(one, Slot)]
    if slots_in(options) or len(slots_in(arguments)) > len(places):
        return partial(_call_nested, function, arguments, options)
    if places == [*range(len(arguments))]:
        return bound
    if places == [*range(len(places))]:
        rest = arguments[len(places) :]
        return lambda *tensors: bound(*tensors, *rest)
    template = [*arguments]

    def call(*tensors: Tensor) -> Any:
        own = template.copy()
        for i, one in zip(places, tensors, strict=True):
            own[i] = one
        return bound(*own)

    return call


def _call_nested(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    *tensors: Tensor,
) -> Any:
    left = iter(tensors)

    def put(given: Any) -> Any:
        if isinstance(given, Slot):
            return next(left)
        return type(given)(map(put, given)) if isinstance(given, tuple | list) else given

    own = [put(one) for one in arguments]
    return function(*own, **{key: put(value) for key, value in options.items()})
