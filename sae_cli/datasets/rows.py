"""Rows gathered from stored values, of any number type."""

from __future__ import annotations

import torch
from torch import Tensor

# PyTorch has few functions for these types, and fewer on a GPU, so that rows are gathered as
# integers of the same size.
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


def take_rows(stored: Tensor, rows: Tensor) -> Tensor:
    """Give ``stored[rows]`` as a copy, in the stored type.

    Args:
        stored: ``(n, ...)``, possibly memory-mapped.
        rows: int64 ``(n_rows,)``, on the same device.
    """
    signed = SIGNED.get(stored.dtype)
    if signed is None:
        return stored.index_select(0, rows)
    return stored.view(signed).index_select(0, rows).view(stored.dtype)
