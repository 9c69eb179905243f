"""A Chrome trace, as torch.profiler writes it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path


def kernel_share(path: Path) -> float:
    """Give the time in GPU kernels over the time from the trace's first event to its last."""
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    events = [
        event
        for event in json.loads(text)["traceEvents"]
        if event.get("ph") == "X" and event.get("cat") != "Trace"
    ]
    start = min(event["ts"] for event in events)
    end = max(event["ts"] + event["dur"] for event in events)
    kernels = sum(event["dur"] for event in events if event.get("cat") == "kernel")
    return float(kernels / (end - start))
