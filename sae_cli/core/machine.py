"""Which errors say that the machine gave out, whatever was being done."""

from __future__ import annotations

from sae_cli.core.errors import MACHINE_GAVE_OUT

# PyTorch says these in plain RuntimeErrors of the CPU, of CUDA and its libraries, and of threads.
NO_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "bad_alloc", "new thread")
# Those of a GPU alone.
NO_GPU_MEMORY = ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
# The system's loader says these of a library that does not fit, without an error number.
NOT_LOADED = ("failed to map segment", "annot allocate memory", "Too many open files")


def gave_out(error: BaseException) -> bool:
    """Tell whether the machine is at fault, and not what was read or asked for."""
    numbered = isinstance(error, OSError) and error.errno in MACHINE_GAVE_OUT
    return numbered or is_memory(error) or is_library(error)


def is_memory(error: BaseException) -> bool:
    """Tell whether memory, or a thread for want of it, could not be had."""
    # The name must do, because torch is not imported for a typo.
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and _says(error, NO_MEMORY))


def is_gpu_memory(error: RuntimeError) -> bool:
    """Tell whether memory of a GPU could not be had."""
    return type(error).__name__ == "OutOfMemoryError" or _says(error, NO_GPU_MEMORY)


def is_library(error: BaseException) -> bool:
    """Tell whether a library could not be loaded because it did not fit."""
    numbered = isinstance(error, OSError) and error.errno is not None
    return isinstance(error, ImportError | OSError) and not numbered and _says(error, NOT_LOADED)


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error) for text in texts)
