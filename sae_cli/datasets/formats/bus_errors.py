"""Bus errors: a mapped file has become shorter, or its disk fails, while a value of it is read.

The system repeats the read when a handler returns, forever if the page is still not there, and
Python's own handlers run only after it. So this handler is one of the system's: it has zeros read
instead, which the reader never sees, because an error is raised right behind it.
"""

from __future__ import annotations

import _thread
import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sae_cli.datasets.formats.mapped import mapped_files

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


@contextmanager
def bus_errors_raised() -> Iterator[None]:
    """Raise what ``MappedFile.look`` raises on a bus error; one of another file ends the process.

    Python lets only the main thread set handlers; elsewhere nothing is set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype, set_handler.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]

    def handle(number: int) -> None:
        files = [file for file in mapped_files() if not file.is_lost]
        shrunk = [file for file in files if file.has_shrunk()]
        if any([file.replace_() for file in shrunk or files]):
            _thread.interrupt_main(signal.SIGBUS)
        else:
            set_handler(signal.SIGBUS, None)

    handler = HANDLER(handle)
    # Another library's handler, such as that of faulthandler, is put back in the end.
    others = set_handler(signal.SIGBUS, None)
    before = signal.signal(signal.SIGBUS, _complain)
    set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        signal.signal(signal.SIGBUS, before or signal.SIG_DFL)
        set_handler(signal.SIGBUS, others)


def _complain(number: int, frame: FrameType | None) -> None:
    """Raise the error; Python calls this between two steps of its own, behind the read."""
    for file in reversed(mapped_files()):
        if file.is_lost:
            file.look()
