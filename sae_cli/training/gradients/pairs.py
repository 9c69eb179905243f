"""The active pairs of an example and a latent, and sums over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sae_cli.model.activations.topk import BatchTopK


class Pairs(NamedTuple):
    """The active pairs of a batch, example by example.

    Attributes:
        codes: ``(n_pairs,)``, not negative.
        latents: ``(n_pairs,)`` int64.
        examples: ``(n_pairs,)`` int64, never falling.
        starts: ``(batch,)`` int64, where the pairs of each example begin.
    """

    codes: Tensor
    latents: Tensor
    examples: Tensor
    starts: Tensor


def of_batch(activation: BatchTopK, pre_codes: Tensor) -> Pairs:
    """The largest of all pre-codes ``(batch, n_latents)``."""
    n, width = pre_codes.shape
    codes, places = activation.kept(pre_codes)
    activation.learn_(codes)
    order = places.argsort()
    places = places[order]
    examples = places // width
    starts = torch.searchsorted(examples, torch.arange(n, device=places.device))
    return Pairs(codes[order], places % width, examples, starts)


def of_each(codes: Tensor, latents: Tensor) -> Pairs:
    """The pairs of codes and latents ``(batch, k)``."""
    n, k = codes.shape
    starts = torch.arange(0, n * k, k, device=codes.device)
    examples = torch.arange(n, device=codes.device).repeat_interleave(k)
    return Pairs(codes.flatten(), latents.flatten(), examples, starts)


def by_prefix(pairs: Pairs, prefixes: Sequence[int], n: int) -> Pairs:
    """Put the pairs of each prefix together that shorter ones do not have.

    Args:
        prefixes: numbers of latents, in increasing order, without the whole code.
        n: the number of examples.

    Returns:
        pairs whose example is ``i * n`` more than it was, where ``i`` prefixes lack the latent.
    """
    places = pairs.examples
    for width in prefixes:
        places = places + n * (pairs.latents >= width)
    # Integers of 32 bits are sorted five times as fast.
    places, order = places.int().sort(stable=True)
    every = torch.arange((len(prefixes) + 1) * n, dtype=torch.int32, device=places.device)
    starts = torch.searchsorted(places, every)
    return Pairs(pairs.codes[order], pairs.latents[order], places.long(), starts)


def active_latents(pairs: Pairs, n_latents: int) -> Tensor:
    """Which latents some example activates, ``(n_latents,)`` bool."""
    # No code is negative, so that no sum hides one.
    return pairs.codes.new_zeros(n_latents).index_add_(0, pairs.latents, pairs.codes) > 0.0


def by_latent(latents: Tensor, n_latents: int) -> tuple[Tensor, Tensor]:
    """The order that sorts pairs by latent, and where those of each latent begin."""
    # Integers of 32 bits are sorted five times as fast.
    in_order, order = latents.int().sort(stable=True)
    every = torch.arange(n_latents, dtype=torch.int32, device=latents.device)
    return order, torch.searchsorted(in_order, every)


def sum_rows(rows: Tensor, taken: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sum weighted rows of each bag: ``(n_bags, width)``.

    Args:
        rows: ``(n, width)``.
        taken: ``(n_pairs,)``, numbers of rows, bag after bag.
        starts: ``(n_bags,)``, where each bag begins.
        weights: ``(n_pairs,)``.
    """
    return F.embedding_bag(taken, rows, starts, mode="sum", per_sample_weights=weights)


def products(gradient: Tensor, atoms: Tensor, pairs: Pairs) -> Tensor:
    """The product of each pair's gradient ``(batch, n_features)`` and atom, 0 for a code of 0."""
    ends = pairs.starts
    found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        gradient, atoms, pairs.latents, ends, pairs.examples, 0
    )
    return found * (pairs.codes > 0.0)
