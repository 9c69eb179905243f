"""Bus errors: a mapped file has become shorter, or its disk fails, while a value of it is read.

The system repeats the read when a handler returns, forever if the page is still not there, and
Python calls its own handlers only after the read. So this one is called by the system itself. It
has zeros read instead, and an error is raised before anything that was made of them is used.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sae_cli.core.company import in_company
from sae_cli.core.signals import Stop
from sae_cli.datasets.formats.mapped import mapped_files

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
# Threads that read at the same time all meet the error; one who meets it again and again is not
# helped by zeros in the files that are known here.
MOST_IN_VAIN = 1000


@contextmanager
def bus_errors_raised(stop: Stop | None = None) -> Iterator[None]:
    """Raise what ``MappedFile.look`` raises at the end of a block that has met a bus error.

    Args:
        stop: is asked to stop, so that the end of the block comes soon.

    Raises:
        ConfigError, MachineError: as ``MappedFile.look``, in place of any error of the block.
    """
    if in_company():
        # The process of the company has its own handler, for all; each run looks at its files.
        yield
        return
    lost_before = [file for file in mapped_files() if file.is_lost]
    try:
        with bus_errors_met(stop):
            yield
    finally:
        for file in mapped_files():
            if file.is_lost and file not in lost_before:
                file.look()


def raise_lost() -> None:
    """Raise what ``MappedFile.look`` raises if zeros are read in place of any file."""
    for file in mapped_files():
        if file.is_lost:
            file.look()


@contextmanager
def bus_errors_met(stop: Stop | None = None) -> Iterator[None]:
    """Have zeros read where a file cannot be; whoever reads it looks at it before it is too late.

    A bus error that is not of a mapped file ends the process, as it does without this.
    """
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    one_by_one, in_vain = threading.Lock(), 0

    def handle(number: int) -> None:
        nonlocal in_vain
        with one_by_one:
            files = [file for file in mapped_files() if not file.is_lost]
            shrunk = [file for file in files if file.has_shrunk()]
            if any([file.replace_() for file in shrunk or files]):
                in_vain = 0
            else:
                in_vain += 1
            if in_vain > MOST_IN_VAIN:
                set_handler(number, None)
        if stop is not None:
            stop.number = signal.SIGBUS

    handler = HANDLER(handle)
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)
