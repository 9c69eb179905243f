"""What pictures need to know of whole splits, in few passes and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae_cli.datasets import Split
from sae_cli.datasets.rows import Shards, Stored
from sae_cli.model.autoencoder import Pass
from sae_cli.pictures.picture import Floats, Integers
from sae_cli.training.loop import EVALUATION_BATCH

BATCH = EVALUATION_BATCH


class Statistics(NamedTuple):
    """What is known of the codes of a split.

    Attributes:
        range: the lowest and the highest code.
        means, sizes: the mean and the root mean square of each latent, ``(n_latents,)`` float64.
        firing: how many examples activate each latent, ``(n_latents,)``.
    """

    range: tuple[float, float]
    means: Floats
    sizes: Floats
    firing: Integers


def gather_statistics(batches: Iterable[Tensor], n_latents: int, above: float) -> Statistics:
    """Gather them in one pass over codes ``(batch, n_latents)``.

    Args:
        above: a code is active when its magnitude exceeds this.
    """
    low, high, n = math.inf, -math.inf, 0
    total, squares = torch.zeros(2, n_latents, dtype=torch.float64)
    firing = torch.zeros(n_latents, dtype=torch.int64)
    for codes in batches:
        low, high = min(low, float(codes.min())), max(high, float(codes.max()))
        total += codes.sum(0, dtype=torch.float64).cpu()
        norms = torch.linalg.vector_norm(codes, dim=0, dtype=torch.float64)
        squares += norms.square().cpu()
        firing += (codes.abs() > above).sum(0).cpu()
        n += len(codes)
    return Statistics(
        (low, high), (total / n).numpy(), (squares / n).sqrt().numpy(), firing.numpy()
    )


def count_codes(batches: Iterable[Tensor], edges: Floats) -> Integers:
    """Count the codes in each bin, ``(len(edges) - 1,)``."""
    counts = np.zeros(len(edges) - 1, np.int64)
    for codes in batches:
        counts = counts + np.histogram(codes.cpu().numpy(), bins=edges)[0]
    return counts


class Encoded(NamedTuple):
    """The codes ``(n, n_latents)`` of examples, and the error of each, ``(n,)`` float64."""

    codes: Floats
    mse: Floats


def encode_examples(forward: Callable[[Tensor], Pass], split: Split, most: int) -> Encoded:
    """Encode and reconstruct the first examples of a split, at most so many."""
    rows = split.rows[:most]
    codes, errors = [], []
    for start in range(0, len(rows), BATCH):
        x = split.values(rows[start : start + BATCH])
        passed = forward(x)
        codes.append(passed.codes.float().cpu())
        errors.append((passed.x_hat.double() - x).flatten(1).square().mean(1).cpu())
    return Encoded(torch.cat(codes).numpy(), torch.cat(errors).numpy())


class Highest(NamedTuple):
    """The highest codes of some latents, in falling order, and the places of their examples.

    Attributes:
        values, places: ``(n_latents, n)``; a place counts the examples of the split.
    """

    values: Tensor
    places: Tensor


def highest_codes(batches: Iterable[Tensor], latents: Integers, n: int) -> Highest:
    """Find the ``n`` examples with the highest code of each latent, in one pass."""
    chosen = torch.from_numpy(latents)
    values = torch.empty(len(latents), 0)
    places = torch.empty(len(latents), 0, dtype=torch.int64)
    start = 0
    for codes in batches:
        here = codes.index_select(1, chosen.to(codes.device)).t().float().cpu()
        values = torch.cat([values, here], 1)
        found = torch.arange(start, start + len(codes)).expand(len(latents), -1)
        places = torch.cat([places, found], 1)
        # A stable order, so that of equal codes the first examples are taken.
        order = values.argsort(dim=1, descending=True, stable=True)[:, :n]
        values, places = values.gather(1, order), places.gather(1, order)
        start += len(codes)
    return Highest(values, places)


def place_rows(stored: Stored, rows: Tensor) -> tuple[npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Name the part of the stored data that holds each row, and give its number in there.

    Args:
        rows: of any shape, which both results have.
    """
    numbers = rows.cpu().numpy()
    if not isinstance(stored, Shards) or len({part.what for part in stored.parts}) == 1:
        return np.full(numbers.shape, ""), numbers
    places = [stored.place_of(int(row)) for row in numbers.flat]
    parts = np.array([what for what, _ in places]).reshape(numbers.shape)
    return parts, np.array([row for _, row in places]).reshape(numbers.shape)
