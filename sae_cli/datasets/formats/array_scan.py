"""Read an array through once, in bounded memory: its range, and whether it can be learnt from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import Interval
from sae_cli.datasets.dataset import CHUNK_BYTES
from sae_cli.datasets.rows import Stored, slice_rows


def interval_of(stored: Stored, what: str) -> Interval:
    """Find the range of the values of ``(n, ...)`` in float32, as a model sees them.

    Args:
        what: names the array in errors.

    Raises:
        ConfigError: a value is not finite, or too large for float32; all values are the same.
    """
    low, high = math.inf, -math.inf
    for start, chunk in _chunks(stored):
        # Rounding keeps the order, so these are the extremes of what Split.values gives.
        smallest, largest = (float(value) for value in chunk.to(torch.float32).aminmax())
        if not math.isfinite(smallest) or not math.isfinite(largest):
            raise _not_finite(chunk, start, what)
        low, high = min(low, smallest), max(high, largest)
    if low == high:
        raise _all_the_same(stored, low, what)
    return Interval(low, high)


def _chunks(stored: Stored) -> Iterator[tuple[int, Tensor]]:
    """Yield the values a few rows at a time, each with the number of its first row."""
    row_bytes = 4 * max(1, math.prod(stored.shape[1:]))
    rows = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, len(stored), rows):
        yield start, slice_rows(stored, start, start + rows)


def _all_the_same(stored: Stored, value: float, what: str) -> ConfigError:
    """Word the error about values that are the same, or become so when they are rounded."""
    first = slice_rows(stored, 0, 1).flatten()[:1]
    if any(bool((row != first).any()) for _, chunk in _chunks(stored) for row in chunk):
        return ConfigError(
            f"{what} holds values that differ by too little for float32, in which all are "
            f"{value:g}; shift or scale the array before it is saved"
        )
    return ConfigError(
        f"{what} holds the value {value:g} everywhere, which teaches nothing; give values that "
        "differ"
    )


def _not_finite(chunk: Tensor, start: int, what: str) -> ConfigError:
    """Word the error about the first row of a chunk with a NaN, an infinity or an overflow."""
    bad = ~chunk.to(torch.float32).flatten(1).isfinite()
    row = int(bad.any(1).nonzero()[0])
    column = int(bad[row].nonzero()[0])
    value = chunk[row].flatten()[column].item()
    why = "is too large for float32" if math.isfinite(value) else "is not finite"
    return ConfigError(
        f"{what}: row {start + row} (the first is 0) holds {value:g}, which {why}; remove or mend "
        "such rows"
    )
