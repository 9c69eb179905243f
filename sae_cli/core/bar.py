"""Progress bars that start no thread and no process, which a limit may forbid."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, final

from tqdm import tqdm


@final
class Bar(tqdm):  # type: ignore[type-arg]
    """A bar of tqdm without its monitor, a thread that wakes a bar whose steps became slow.

    This one looks at the clock in each step instead.
    """

    monitor_interval = 0
    shown: ClassVar[bool] = True
    """Whether any bar is drawn; see ``bars_shown``."""

    def __init__(self, *given: Any, **options: Any) -> None:
        hidden = {} if Bar.shown else {"disable": True}
        super().__init__(*given, **({"miniters": 1} | options | hidden))


@contextmanager
def bars_shown(shown: bool) -> Iterator[None]:
    """Draw bars inside, or none; none within a block that draws none."""
    before, Bar.shown = Bar.shown, Bar.shown and shown
    try:
        yield
    finally:
        Bar.shown = before


# tqdm's own lock is shared between processes, and starts another process to look after it.
Bar.set_lock(threading.RLock())
