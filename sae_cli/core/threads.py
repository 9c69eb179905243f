"""Threads that libraries start, and end the process without when they cannot."""

from __future__ import annotations

import os
import threading

from sae_cli.core.errors import MachineError
from sae_cli.core.text import counted


def available_threads() -> int:
    """How many threads NumPy and PyTorch compute on unless they are told otherwise."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slurm_threads() -> int | None:
    """How many cores Slurm has given to this process; None if it did not start it."""
    # The first is set where they were asked for; the second is of all tasks, of which a job of a
    # sweep is the only one.
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if (given := os.environ.get(name, "")).isdecimal() and int(given) > 0:
            return int(given)
    return None


def check_threads(n: int, pools: int) -> None:
    """Check that this process may compute on ``n`` threads, by starting as many for an instant.

    Args:
        n: threads, the one that calls included.
        pools: how many pools of them the libraries keep.

    Raises:
        MachineError: it may not. OpenMP would end the process in the midst of a step.
    """
    needed = pools * (n - 1)
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(needed):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:
        raise MachineError(
            f"this process may start {counted(len(started), 'more thread')}, and computing on {n} "
            f"takes {needed}; raise the limits of processes and memory (ulimit -u, ulimit -v, or "
            "those of the container), or compute on one with OMP_NUM_THREADS=1 device.threads=1"
        ) from None
    finally:
        done.set()
        for thread in started:
            thread.join()
