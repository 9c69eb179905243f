"""Whether an operation of several models rounds as that of each, whatever the numbers are.

A batch may hide a difference: of products with zeros, or of sums of a single number, nothing is
rounded. So operations that sum are compared on random numbers, none of which is zero.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sae_cli.training.gradients.bits import same
from sae_cli.training.gradients.calls import Single, Together, call_of
from sae_cli.training.gradients.common import ALIGNED
from sae_cli.training.gradients.tape import Layout, leaves, slots_in

ROUNDED = {
    *("mm", "addmm", "bmm", "sum", "mean", "linalg_vector_norm"),
    *("_log_softmax", "_log_softmax_backward_data"),
    *("mse_loss", "binary_cross_entropy_with_logits"),
}
"""Operations that sum, by name."""
# The parameters of models lie further apart than what is computed of them.
ROOMS = (1, ALIGNED)


def rounds_alike(single: Single, together: Together) -> bool:
    """Whether a call for all models gives each the bits of its own call.

    Args:
        together: of the stacked tensors.
    """
    own = single.operation
    layouts = [single.layouts[slot] for slot in slots_in(own.arguments)]
    if not all(layout.dtype.is_floating_point for layout in layouts):
        # Whole numbers are summed without rounding.
        return True
    alone = call_of(own)
    generator = Generator().manual_seed(0)
    for room in ROOMS:
        stacked = [
            _draw(layout, single.n_models, room, generator, single.device) for layout in layouts
        ]
        found = _tensors(together(*stacked))
        for i in range(single.n_models):
            expected = _tensors(alone(*(_apart(one[i]) for one in stacked)))
            if not all(same(one[i], other) for one, other in zip(found, expected, strict=True)):
                return False
    return True


def _draw(
    layout: Layout, n_models: int, room: int, generator: Generator, device: torch.device
) -> Tensor:
    """Stacked tensors of random numbers, of this layout each, that begin at multiples of a room."""
    sizes = zip(layout.shape, layout.stride, strict=True)
    span = 1 + sum(max(0, size - 1) * stride for size, stride in sizes)
    span = -(-span // room) * room
    numbers = torch.randn(n_models, span, generator=generator, dtype=layout.dtype).to(device)
    return numbers.as_strided((n_models, *layout.shape), (span, *layout.stride))


def _apart(part: Tensor) -> Tensor:
    """A copy in memory of its own, which lies there as it does."""
    copy = torch.empty_strided(part.shape, part.stride(), dtype=part.dtype, device=part.device)
    # Elements that are one in memory are written once.
    axes = [slice(None) if stride else slice(1) for stride in part.stride()]
    copy[tuple(axes)] = part[tuple(axes)]
    return copy


def _tensors(found: object) -> list[Tensor]:
    return [one for one in leaves(found) if isinstance(one, Tensor)]
