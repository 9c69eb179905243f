"""Exit codes: how an error or a signal ends a command, with one line."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from sae_cli.core.errors import (
    CheckpointError,
    ConfigError,
    SaeError,
    Stopped,
    in_one_line,
)
from sae_cli.core.machine import gave_out, is_library, is_memory
from sae_cli.core.signals import SIGNALS, stopping_at_once

DONE, MACHINE = 0, 4


def command(run: Callable[[list[str]], int]) -> None:
    """End the process with the code of what ``run`` makes of the command line.

    Args:
        run: imports what it needs itself, so that a signal meets its handlers in the meantime.
    """
    _open_output()
    try:
        with stopping_at_once():
            given = sys.argv[1:]
            # The import of the command itself may be what finds no memory.
            code = run_guarded(lambda: run(given), show_traceback="--traceback" in given)
    except Stopped as stopped:
        # The terminal may have been closed.
        with suppress(OSError):
            print(stopped, file=sys.stderr)
        code = stopped.exit_code
    # A signal while the interpreter tidies up would only change the code.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _open_output() -> None:
    """Make printing safe: replace closed streams, and escape what the terminal cannot show.

    Without a replacement, the next file that is opened would take the number of the closed stream
    and receive what is printed.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.excepthook = _print_traceback


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback; the message of an error may quote a stranger's file."""
    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        print(in_one_line(line), file=sys.stderr)


def run_guarded(run: Callable[[], int], *, show_traceback: bool) -> int:
    """Give the exit code of ``run``, and print its error in one line; bugs pass."""
    try:
        return run()
    except BrokenPipeError:
        # The reader of the output has gone, and Python would complain about that when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        code, text = meaning(error)
        if code is None:
            raise
        if show_traceback:
            _print_traceback(type(error), error, error.__traceback__)
        print(in_one_line(f"error: {text}"), file=sys.stderr)
        return code


def meaning(error: Exception) -> tuple[int | None, str]:
    """Give the exit code and the line of an error; None for a bug."""
    if isinstance(error, (ConfigError, CheckpointError)):
        # Readers take what a file raises for its fault, even if it is the machine's.
        behind = error.__context__
        if isinstance(behind, Exception) and gave_out(behind):
            return meaning(behind)
    if isinstance(error, SaeError):
        return error.exit_code, str(error)
    if is_library(error):
        return MACHINE, (
            f"a library cannot be loaded ({error}); raise the limits of this process (ulimit -a), "
            "and the run can be resumed"
        )
    if isinstance(error, OSError):
        text = f"{error.filename or 'input or output'}: {error.strerror or error}"
        if gave_out(error):
            return MACHINE, f"{text}; what was saved before is kept, and the run can be resumed"
        return ConfigError.exit_code, text
    if is_memory(error):
        return MACHINE, (
            "out of memory; lower batch_size, architecture.n_latents or architecture.hidden_sizes"
        )
    return None, ""
