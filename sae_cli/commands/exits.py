"""What ends a command, as an exit code and one line."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from sae_cli.core.errors import MACHINE_GAVE_OUT, ConfigError, SaeError, Stopped
from sae_cli.core.signals import SIGNALS, stopping_at_once

DONE, MACHINE = 0, 4
# What PyTorch says in plain RuntimeErrors: of the CPU, of CUDA and its libraries, of threads.
NO_MEMORY = ("DefaultCPUAllocator", "out of memory", "ALLOC_FAILED", "bad_alloc", "new thread")


def command(run: Callable[[list[str]], int]) -> None:
    """End the process with the code of what ``run`` makes of the command line.

    Args:
        run: imports what it needs, so that a signal meets its handlers while that takes its time.
    """
    _open_output()
    try:
        with stopping_at_once():
            code = run(sys.argv[1:])
    except Stopped as stopped:
        # It may be that the terminal was closed.
        with suppress(OSError):
            print(stopped, file=sys.stderr)
        code = stopped.exit_code
    # It is done; a signal while the interpreter tidies up would only change the code.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _open_output() -> None:
    """What cannot be printed does not stop a run: a closed output, a letter that it does not have.

    (A file that took the number of a closed output would get what is printed.)
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def guarded(run: Callable[[], int], *, show_traceback: bool) -> int:
    """The exit code of ``run``, its errors on stderr in one line each; bugs pass."""
    try:
        return run()
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        code, text = _meaning(error)
        if code is None:
            raise
        if show_traceback:
            traceback.print_exc()
        print(f"error: {text}", file=sys.stderr)
        return code


def _meaning(error: Exception) -> tuple[int | None, str]:
    """Exit code and line of an error; None for a bug."""
    if isinstance(error, SaeError):
        return error.exit_code, str(error)
    if isinstance(error, OSError):
        text = f"{error.filename or 'input or output'}: {error.strerror or error}"
        if error.errno in MACHINE_GAVE_OUT:
            return MACHINE, f"{text}; what was saved before is kept, and the run can be resumed"
        return ConfigError.exit_code, text
    # Known by name: torch is not imported for a typo.
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or (isinstance(error, RuntimeError) and any(s in str(error) for s in NO_MEMORY)):
        return MACHINE, (
            "out of memory; lower batch_size, architecture.n_latents or architecture.hidden_sizes"
        )
    return None, ""
