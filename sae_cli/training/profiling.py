"""A profile: where an epoch spends its time, as a trace for Perfetto or chrome://tracing."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

# The profiler's library (Kineto) would write to stderr that it starts, stops, and finds no GPU.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

T = TypeVar("T")


def profile_epochs(
    epochs: Iterator[T], n_epochs: int, save: Callable[[bytes], None]
) -> Iterator[T]:
    """Give the same epochs, and record one: the second, or the only one.

    Args:
        epochs: does its work when asked for the next.
        n_epochs: how many there are.
        save: takes the trace, gzipped JSON.
    """
    recorded = min(1, n_epochs - 1)
    for _ in range(recorded):
        yield next(epochs)
    gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with profile(activities=[ProfilerActivity.CPU, *gpu]) as profiler:
        result = next(epochs)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        save(gzip.compress(trace.read_bytes(), compresslevel=5))
    yield result
    yield from epochs
