"""Data too large for a device: batches gathered on the host by a thread, a few ahead of their use.

Batches come in the same order, and with the same bits, as when they are gathered one by one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from sae_cli.core.memory import whole_memory
from sae_cli.datasets.rows import Stored, take_rows

T = TypeVar("T")

# Data may take this share of the memory that is free before training; the rest is for activations
# and optimizer state.
SHARE = 0.5
# A few batches even out slow reads and take little memory.
AHEAD = 3


def too_large(n_bytes: int, device: torch.device) -> bool:
    """Whether so many bytes should not be kept on a device.

    On the CPU, a mapped file of that size would not stay in the memory.
    """
    return n_bytes > SHARE * free_bytes(device)


def free_bytes(device: torch.device) -> float:
    """Free memory of a GPU; for the CPU all that it may take, because mapped files give way."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # The driver counts memory that PyTorch keeps for its next tensors as taken, but it is free.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + kept
    return whole_memory() if device.type == "cpu" else math.inf


@dataclass
class Wait:
    """How long batches were waited for.

    Attributes:
        seconds: in all.
    """

    seconds: float = 0.0


def stream(
    stored: Stored, pieces: Iterable[Tensor], device: torch.device, wait: Wait
) -> Iterator[Tensor]:
    """Yield ``stored[rows]`` on ``device``, in the stored type, for each ``rows`` of ``pieces``.

    Args:
        stored: ``(n, ...)`` on the host, possibly memory-mapped or in shards.
        pieces: int64 ``(n_rows,)`` each, on the host.
        wait: grows by the time that the caller waits.
    """
    if device.type == "cuda":
        return _to_gpu(stored, pieces, device, wait)
    return ahead(pieces, lambda rows: take_rows(stored, rows).to(device), wait)


def ahead(pieces: Iterable[Tensor], load: Callable[[Tensor], T], wait: Wait) -> Iterator[T]:
    """Yield ``load(piece)`` for each piece, in order; a thread loads up to ``AHEAD`` pieces early.

    An error of ``load`` is raised here, at its piece. The thread ends with the iterator, even if
    that is left early.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(1, "batches-ahead")
    try:
        for piece in pieces:
            waiting.append(pool.submit(load, piece))
            if len(waiting) > AHEAD:
                yield _result(waiting.popleft(), wait)
        while waiting:
            yield _result(waiting.popleft(), wait)
    finally:
        pool.shutdown(cancel_futures=True)


def _result(loading: Future[T], wait: Wait) -> T:
    started = time.perf_counter()
    loaded = loading.result()
    wait.seconds += time.perf_counter() - started
    return loaded


def _to_gpu(
    stored: Stored, pieces: Iterable[Tensor], device: torch.device, wait: Wait
) -> Iterator[Tensor]:
    """Copy on a separate CUDA stream, so that a copy and a training step run side by side."""
    copies = _copy_stream(device)

    def load(rows: Tensor) -> tuple[Tensor, torch.cuda.Event]:
        # A copy is asynchronous only from pinned memory, which PyTorch's allocator reuses only
        # after the copy.
        pinned = take_rows(stored, rows).pin_memory()
        with torch.cuda.stream(copies):
            batch = pinned.to(device, non_blocking=True)
        return batch, copies.record_event()

    for batch, copied in ahead(pieces, load, wait):
        using = torch.cuda.current_stream(device)
        using.wait_event(copied)
        # The memory belongs to the copying stream, which must not reuse it while this one reads it.
        batch.record_stream(using)
        yield batch


@cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Make one for all epochs, because PyTorch keeps freed memory for each stream apart."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
