"""Operations of several models at once, over tensors with a leading axis of models.

A rule gives the one call that does an operation for all models, or None where each model does it
by itself: where there is no such call, or its last bits could be others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae_cli.training.gradients.tape import Layout, Operation, Slot, slots_in

# The first round each element by itself, and need no more than the processor's own instructions.
_EXACT = """
    abs add bitwise_and bitwise_not bitwise_or clamp clamp_max clamp_min clone copy div empty_like
    eq fill full_like ge gt isfinite le leaky_relu leaky_relu_backward logical_and logical_not
    logical_or lt masked_fill maximum minimum mse_loss_backward mul nan_to_num ne neg ones_like
    reciprocal relu rsub sgn sign sqrt square sub threshold_backward _to_copy where zero zeros_like
"""
EXACT = {*_EXACT.split()}
# All others treat the last elements of a tensor that fill no block by another formula. Not all that
# are done element by element are tagged so.
BLOCK = 32
IN_BLOCKS = {"elu_backward", "hardsigmoid_backward", "silu_backward", "softplus_backward"}


class Single(NamedTuple):
    """An operation of one model, and the layouts of its tensors."""

    operation: Operation
    layouts: Sequence[Layout]
    n_models: int

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


def batched(single: Single) -> Together | None:
    """The operation for all models at once, or None."""
    operation = single.operation
    rule = RULES.get(operation.name)
    if rule is not None:
        return rule(single)
    by_element = torch.Tag.pointwise in operation.function.tags
    if by_element or operation.name in EXACT | IN_BLOCKS:
        return _by_element(single)
    return None


def _by_element(single: Single) -> Together | None:
    own = single.operation
    if not own.results or not (_is_exact(own) or _fills_blocks(single.result())):
        return None
    rank = len(single.result().shape)
    views: list[tuple[int, ...] | None] = []
    for slot in slots_in(own.arguments):
        shape = single.layouts[slot].shape
        views.append((1,) * (rank - len(shape)) + shape if len(shape) < rank else None)
    call = filled(own.arguments, own.options, own.function)
    if not any(views):
        return call

    def aligned(*tensors: Tensor) -> Any:
        return call(
            *(
                one if view is None else one.view(len(one), *view)
                for one, view in zip(tensors, views, strict=False)
            )
        )

    return aligned


def _is_exact(own: Operation) -> bool:
    scaled = own.options.get("alpha", 1) not in {1, -1}
    squared = own.name == "pow" and own.arguments[1] == 2
    return squared or (own.name in EXACT and not scaled)


def _fills_blocks(layout: Layout) -> bool:
    return torch.Size(layout.shape).numel() % BLOCK == 0


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


def _inner(dim: int) -> int:
    """The number of an axis behind that of the models."""
    return dim + 1 if dim >= 0 else dim


def _same(single: Single) -> Together:
    return lambda x: x


def _product(single: Single) -> Together:
    return torch.bmm


def _sum_and_product(single: Single) -> Together | None:
    if single.operation.options or len(single.arguments) > 3:
        return None
    if single.rank(0) == 2:
        return torch.baddbmm
    # To add a bias to a product rounds once more than to begin with it.
    return lambda bias, x, y: torch.baddbmm(bias[:, None], x, y)


def _products(single: Single) -> Together:
    def product(x: Tensor, y: Tensor) -> Tensor:
        made: Tensor = x.flatten(0, 1).bmm(y.flatten(0, 1))
        return made.view(len(x), -1, *made.shape[1:])

    return product


def _transposed(single: Single) -> Together:
    return _same(single) if single.rank(0) < 2 else lambda x: x.transpose(1, 2)


def _axes(*places: int) -> Rule:
    """The same call with axes, given as arguments in these places, behind that of the models."""

    def rule(single: Single) -> Together | None:
        arguments = [*single.arguments]
        for place in places:
            # What stands for all axes would be all models, too.
            if place >= len(arguments) or arguments[place] is None or arguments[place] == []:
                return None
            given = arguments[place]
            arguments[place] = (
                [_inner(one) for one in given] if isinstance(given, list) else _inner(given)
            )
        if single.operation.name != "unsqueeze" and not single.rank(0):
            return None
        return filled(arguments, single.operation.options, single.operation.function)

    return rule


def _reduced(single: Single) -> Together | None:
    """A sum or the like over some axes, or over all."""
    own, rank = single.operation, single.rank(0)
    if len(own.arguments) > 1:
        return _axes(1)(single)
    if not rank or own.options:
        return None
    packet = own.function.overloadpacket
    axes = [*range(1, rank + 1)]
    return lambda x: packet(x, axes)


def _norm(single: Single) -> Together | None:
    if len(single.arguments) < 3:
        return None
    return _axes(2)(single)


def _axes_or(default: Sequence[Any], *places: int) -> Rule:
    """As ``_axes``, where arguments may be left out."""

    def rule(single: Single) -> Together | None:
        own = single.operation
        every = (*own.arguments, *default[len(own.arguments) :])
        return _axes(*places)(single._replace(operation=own._replace(arguments=every)))

    return rule


def _joined(single: Single) -> Together:
    dim = _inner(single.arguments[1] if len(single.arguments) > 1 else 0)
    function = single.operation.function
    return lambda *tensors: function([*tensors], dim)


def _viewed(single: Single) -> Together:
    shape, function = single.arguments[1], single.operation.function
    return lambda x: function(x, [len(x), *shape])


def _expanded(single: Single) -> Together:
    shape, rank = single.arguments[1], single.rank(0)
    ones = (1,) * (len(shape) - rank)
    own = single.layouts[single.arguments[0].number].shape

    def expand(x: Tensor) -> Tensor:
        return x.view(len(x), *ones, *own).expand(-1, *shape) if ones else x.expand(-1, *shape)

    return expand


def _permuted(single: Single) -> Together:
    axes = [0, *(one + 1 if one >= 0 else one for one in single.arguments[1])]
    return lambda x: x.permute(axes)


def _new(single: Single) -> Together:
    """New tensors of one shape for each model."""
    _, shape, *rest = single.arguments
    own = single.operation
    return lambda x: own.function(x, [len(x), *shape], *rest, **own.options)


def _scalar(single: Single) -> Together:
    (value,), n = single.arguments, single.n_models
    return partial(torch.full, (n,), value, **single.operation.options)


def _backward_of_view(single: Single) -> Together:
    _, shape, dim, *rest = single.arguments
    function = single.operation.function
    return lambda x: function(x, [len(x), *shape], _inner(dim), *rest)


def _mean_squared_error(single: Single) -> Together | None:
    axes = [*range(1, single.rank(0) + 1)]
    if single.arguments[2:] != (2,):
        return None
    return lambda x, y: (x - y).square_().sum(axes)


def _logistic_loss(single: Single) -> Together | None:
    layout = single.layouts[single.arguments[0].number]
    # There are no weights, and it is a sum.
    if single.arguments[2:] != (None, None, 2) or not _fills_blocks(layout):
        return None
    axes, function = [*range(1, len(layout.shape) + 1)], single.operation.function
    return lambda x, y: function(x, y, None, None, 0).sum(axes)


def _found(single: Single) -> Together | None:
    """Places in sorted numbers, which are found row by row."""
    if single.rank(0) != 1 or single.rank(1) != 1:
        return None
    own = single.operation
    return filled(own.arguments, own.options, own.function)


RULES: dict[str, Rule] = {
    "alias": _same,
    "detach": _same,
    "mm": _product,
    "addmm": _sum_and_product,
    "bmm": _products,
    "t": _transposed,
    "transpose": _axes(1, 2),
    "permute": _permuted,
    "view": _viewed,
    "_unsafe_view": _viewed,
    "expand": _expanded,
    "squeeze": _axes(1),
    "unsqueeze": _axes(1),
    "select": _axes(1),
    "slice": _axes_or((None, 0), 1),
    "split": _axes_or((None, None, 0), 2),
    "unbind": _axes_or((None, 0), 1),
    "diagonal": _axes_or((None, 0, 0, 1), 2, 3),
    "slice_backward": _backward_of_view,
    "select_backward": _backward_of_view,
    "cat": _joined,
    "stack": _joined,
    "sum": _reduced,
    "mean": _reduced,
    "amax": _reduced,
    "amin": _reduced,
    "any": _reduced,
    "linalg_vector_norm": _norm,
    "cumsum": _axes(1),
    "_softmax": _axes(1),
    "_log_softmax": _axes(1),
    "_softmax_backward_data": _axes(2),
    "_log_softmax_backward_data": _axes(2),
    "topk": _axes_or((None, None, -1), 2),
    "gather": _axes(1),
    "scatter": _axes(1),
    "searchsorted": _found,
    "new_zeros": _new,
    "new_ones": _new,
    "new_full": _new,
    "scalar_tensor": _scalar,
    "mse_loss": _mean_squared_error,
    "binary_cross_entropy_with_logits": _logistic_loss,
}
"""By the name of an operation; an operation on each element needs none."""
