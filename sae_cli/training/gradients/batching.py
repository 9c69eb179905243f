"""Operations of several models at once, over tensors with a leading axis of models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae_cli.training.gradients.calls import Single, Together, call_of
from sae_cli.training.gradients.rounding import ROUNDED, rounds_alike
from sae_cli.training.gradients.rules import RULES, fills_blocks
from sae_cli.training.gradients.tape import Operation, slots_in

# These round each element by itself, and need no more than the processor's own instructions.
_EXACT = """
    abs add bitwise_and bitwise_not bitwise_or clamp clamp_max clamp_min clone copy div empty_like
    eq fill full_like ge gt isfinite le leaky_relu leaky_relu_backward logical_and logical_not
    logical_or lt masked_fill mse_loss_backward mul nan_to_num ne neg ones_like reciprocal relu
    rsub sgn sign sqrt square sub threshold_backward _to_copy where zero zeros_like
"""
EXACT = {*_EXACT.split()}
# Of those that do not, not all that are done element by element are tagged so.
IN_BLOCKS = {"elu_backward", "hardsigmoid_backward", "silu_backward", "softplus_backward"}


def batched(single: Single) -> Together | None:
    """The call that does an operation for all models at once; None where each does it by itself."""
    operation = single.operation
    rule = RULES.get(operation.name)
    if rule is not None:
        together = rule(single)
        if together is None or operation.name not in ROUNDED or rounds_alike(single, together):
            return together
        return None
    by_element = torch.Tag.pointwise in operation.function.tags
    if by_element or operation.name in EXACT | IN_BLOCKS:
        return _by_element(single)
    return None


def _by_element(single: Single) -> Together | None:
    own = single.operation
    if not own.results or not (_is_exact(own) or fills_blocks(single.result(), single.device)):
        return None
    rank = len(single.result().shape)
    views: list[tuple[int, ...] | None] = []
    for slot in slots_in(own.arguments):
        shape = single.layouts[slot].shape
        views.append((1,) * (rank - len(shape)) + shape if len(shape) < rank else None)
    call = call_of(own)
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
