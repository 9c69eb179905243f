"""Memory that a command may not have, noticed before libraries abort the process for want of it."""

from __future__ import annotations

import os
import resource

from sae_cli.core.errors import MachineError

MODULES = ("numpy", "torch", "sae_cli.assembly.parts")


def check_memory() -> None:
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
