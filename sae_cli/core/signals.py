"""Signals that ask to stop: at once while nothing is lost by it, at the next step in a training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sae_cli.core.errors import Stopped

# The last is sent when the terminal is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


class Stop:
    """Whether a signal has asked to stop.

    Attributes:
        number: of the signal, None before there is one.
    """

    number: int | None = None

    def check(self) -> None:
        """Raise Stopped if a signal has asked to."""
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """The signals raise Stopped where they find the program."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(handle):
        yield


@contextmanager
def stopping_in_time() -> Iterator[Stop]:
    """The signals are noted, for the program to stop when it has saved its work; a Ctrl-C after
    another signal stops at once."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.number is not None:
            raise Stopped(number)
        stop.number = number

    with _handled(handle):
        yield stop
    # What came too late to stop this stops what would come after it: a sweep's next job.
    stop.check()


@contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    # Only the main thread may have handlers.
    main = threading.current_thread() is threading.main_thread()
    # What is ignored (in the background, say) stays so; a handler in C could not be put back.
    taken = [s for s in SIGNALS if main and signal.getsignal(s) not in (signal.SIG_IGN, None)]
    before = [signal.signal(number, handler) for number in taken]
    try:
        yield
    finally:
        for number, previous in zip(taken, before, strict=True):
            signal.signal(number, previous)
