"""Rules by which operations are done for several models at once.

A rule gives the one call, of tensors with a leading axis of models, that does what the operation
does for each model; None where there is no such call, or its last bits could be others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sae_cli.training.gradients.calls import Rule, Single, Together, call_of, filled
from sae_cli.training.gradients.tape import Layout

# Functions that are no single instruction treat the last elements of a tensor that fill no block of
# so many by another formula; on a GPU they treat all alike.
BLOCK = 32


def fills_blocks(layout: Layout, device: torch.device) -> bool:
    """Whether a tensor has no elements that a function treats by another formula."""
    return device.type != "cpu" or torch.Size(layout.shape).numel() % BLOCK == 0


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
    axes = [0, *map(_inner, single.arguments[1])]
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
    if single.arguments[2:] != (None, None, 2) or not fills_blocks(layout, single.device):
        return None
    axes, function = [*range(1, len(layout.shape) + 1)], single.operation.function
    return lambda x, y: function(x, y, None, None, 0).sum(axes)


def _found(single: Single) -> Together | None:
    """Places in sorted numbers, which are found row by row."""
    if single.rank(0) != 1 or single.rank(1) != 1:
        return None
    return call_of(single.operation)


RULES: dict[str, Rule] = {
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
    "_log_softmax": _axes(1),
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
