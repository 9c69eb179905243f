"""A profile: what an epoch spends its time on, as a trace for Perfetto or chrome://tracing."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

# Its library would remark on stderr that it starts, that it stops, and that there is no GPU.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

T = TypeVar("T")


def profiled(epochs: Iterator[T], n_epochs: int, save: Callable[[bytes], None]) -> Iterator[T]:
    """The same epochs, one of which is recorded: the second, or else the only one.

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
