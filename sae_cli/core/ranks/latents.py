"""What the ranks of a run compute together where each holds some of the latents.

Each sees whole batches and has the codes of its own latents; what is a sum over latents is the sum
of those of the ranks. In a process that trains alone these functions give back what they are given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from sae_cli.core.ranks.together import Together, together


def sharing_latents() -> Together | None:
    """Give the ranks that share out latents; None where this process has all of them."""
    ranks = together()
    return ranks if ranks is not None and ranks.shares == "latents" else None


def latents_of(rank: int, size: int, n_latents: int) -> range:
    """Give the latents of one of ``size`` ranks: neighbours, as many as others have or one more."""
    return range(rank * n_latents // size, (rank + 1) * n_latents // size)


class _Sum(Function):
    """The sum of the parts of all ranks, each of which every rank differentiates by its own."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        ranks = sharing_latents()
        assert ranks is not None
        return ranks.sum(part.flatten()).view_as(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def sum_over_latents(part: Tensor) -> Tensor:
    """The sum over all latents, from that over the latents of this rank.

    Every rank computes the same loss of it, so the gradient of the part is that of the sum.

    Args:
        part: any shape; summed in float32 if it is of fewer bits.
    """
    if sharing_latents() is None:
        return part
    total: Tensor = _Sum.apply(part.to(torch.promote_types(part.dtype, torch.float32)))
    return total


def of_all_latents(values: Tensor) -> Tensor:
    """Values of each latent ``(n_latents,)``, from those of the latents of this rank."""
    ranks = sharing_latents()
    if ranks is None:
        return values
    counts = [int(n) for n in ranks.gather(torch.tensor([len(values)]))]
    # Ranks gather tensors of one shape.
    padded = torch.cat([values, values.new_zeros(max(counts) - len(values))])
    parts = zip(ranks.gather(padded), counts, strict=True)
    return torch.cat([part[:n] for part, n in parts])


def finite_in_all(finite: bool) -> bool:
    """Whether something is finite in every rank that has some of the latents."""
    ranks = sharing_latents()
    if ranks is None:
        return finite
    return all(bool(one) for one in ranks.gather(torch.tensor([finite])))
