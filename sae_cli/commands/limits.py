"""Limits of this process, met before the system or a library ends it without a word."""

from __future__ import annotations

import os
import resource

from sae_cli.core.errors import MachineError
from sae_cli.core.threads import available_threads, check_threads

# Of the processor time that a process may take, the end is kept to save in: a tenth of it, at
# least a second and at most a minute.
SAVING_SHARE, SAVING_SECONDS = 10, 60
# NumPy starts its threads while it is imported.
NUMPY_POOLS = 1
MODULES = ("numpy", "torch", "sae_cli.assembly.parts")


def check_limits() -> None:
    """Check that what a command needs fits this process, and have it told before its time ends.

    Raises:
        MachineError: the imports do not fit, too few threads can be started, or there is no
            time to save in.
    """
    _leave_time()
    check_threads(available_threads(), NUMPY_POOLS)
    _check_memory()


def _leave_time() -> None:
    """Have SIGXCPU ask to stop before the system kills at a limit (``ulimit -t``).

    Where both limits are the same, as a shell sets them, the system kills at once.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY:
        return
    last = hard - min(SAVING_SECONDS, max(1, hard // SAVING_SHARE))
    if last < 1:
        raise MachineError(
            f"the limit of {hard} s of processor time (ulimit -t) is too low to train in; raise it"
        )
    if soft == resource.RLIM_INFINITY or soft > last:
        resource.setrlimit(resource.RLIMIT_CPU, (last, hard))


def _check_memory() -> None:
    """Import what a command needs in a process of its own, if the address space is limited.

    Some libraries end the process where memory runs out while they are loaded (``ulimit -v``,
    a batch system's limit), so nothing could be said afterwards.

    Raises:
        MachineError: the imports do not fit.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or _imports_fit():
        return
    raise MachineError(
        f"out of memory: the limit of {limit >> 20} MiB (ulimit -v) is too low to load PyTorch; "
        "raise it, or install the smaller build of PyTorch for CPUs"
    )


def _imports_fit() -> bool:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            for module in MODULES:
                __import__(module)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status == 0
