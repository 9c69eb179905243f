"""Where processes that are started write what this one does not show."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OUT_AND_ERR = (1, 2)


@contextmanager
def processes_write_to(path: Path) -> Iterator[None]:
    """Have processes that are started inside write to a file what they print.

    They may go on when this process has ended, and whoever reads what it prints, ``tee`` or a
    ``$(...)``, would wait for the end of all that have its outputs.
    """
    for stream in (sys.stdout, sys.stderr):
        # Python has none in place of one that is closed.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[int, int] = {}
    with path.open("ab") as file:
        try:
            for number in OUT_AND_ERR:
                # One that is closed is nobody's to keep open.
                with suppress(OSError):
                    kept[number] = os.dup(number)
                    os.dup2(file.fileno(), number)
            yield
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
