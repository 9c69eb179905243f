"""The garbage collector, at rest while a command starts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_collecting() -> Iterator[None]:
    """Let the garbage collector rest while modules are imported and configurations composed.

    They make a million objects that stay, and looking through them again and again takes a sixth of
    the time that a command needs to start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
