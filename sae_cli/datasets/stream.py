"""Data too large for a device: batches gathered on the host by a thread, a few ahead of their use.

The order of batches, and every bit of them, is that of gathering them one by one.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

# Of the memory that is free before training: the rest is for activations and optimizer state.
SHARE = 0.5
# Enough to even out slow reads, few enough to take no memory to speak of.
AHEAD = 3


def too_large(n_bytes: int, device: torch.device) -> bool:
    """Whether so many bytes must not be kept on a device (or, for the CPU, are best not waited for
    because a mapped file of that size will not stay in the memory)."""
    return n_bytes > SHARE * free_bytes(device)


def free_bytes(device: torch.device) -> float:
    """Free memory of a GPU; all memory of the machine for the CPU, where mapped files give way."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch keeps for its next tensors counts as taken there, and is free.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + kept
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return math.inf


def stream(stored: Tensor, pieces: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """``stored[rows]`` on ``device``, of the type as stored, for each ``rows`` of ``pieces``.

    Args:
        stored: ``(n, ...)`` on the host, possibly memory-mapped.
        pieces: int64 ``(n_rows,)`` each, on the host.
    """
    if device.type == "cuda":
        return _to_gpu(stored, pieces, device)
    return ahead(pieces, lambda rows: stored.index_select(0, rows).to(device))


def ahead(pieces: Iterable[Tensor], load: Callable[[Tensor], T]) -> Iterator[T]:
    """``load(piece)`` for each piece, in order, done by one thread up to ``AHEAD`` pieces early.

    What ``load`` raises is raised here, at its piece. The thread has ended when the iterator has,
    also when it is left early.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(1, "batches-ahead")
    try:
        for piece in pieces:
            waiting.append(pool.submit(load, piece))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _to_gpu(stored: Tensor, pieces: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Copied on a stream of their own, so that a copy and a training step run side by side."""
    copies = _copy_stream(device)

    def load(rows: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        # Only from pinned memory is a copy asynchronous. PyTorch's allocator of pinned memory
        # hands it out anew only after the copy.
        pinned = stored.index_select(0, rows).pin_memory()
        with torch.cuda.stream(copies):
            batch = pinned.to(device, non_blocking=True)
        return batch, copies.record_event()

    for batch, copied in ahead(pieces, load):
        using = torch.cuda.current_stream(device)
        using.wait_event(copied)
        # The memory belongs to the copying stream, which must not reuse it before this one is done.
        batch.record_stream(using)
        yield batch


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all epochs: PyTorch keeps freed memory for each stream apart."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
