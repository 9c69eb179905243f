"""Signals that ask to stop: at once where nothing is lost, in a training after the current step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from sae_cli.core.errors import Stopped

# SIGHUP is sent when the terminal is closed, SIGUSR1 or SIGUSR2 by a cluster before a time limit,
# SIGXCPU by the system at a limit of processor time.
SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP),
    signal.SIGXCPU,
)

Handler = Callable[[int, FrameType | None], None]


class Stop:
    """A note of whether a signal has asked to stop.

    Attributes:
        number: the signal's number, or None.
    """

    number: int | None = None

    def check(self) -> None:
        """Raise Stopped if a signal has asked to."""
        if self.number is not None:
            raise Stopped(self.number)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Raise Stopped on a signal, wherever the program is."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    with handle_signals(handle):
        yield


@contextmanager
def stopping_in_time() -> Iterator[Stop]:
    """Note a signal, so that the program can save its work before it stops.

    A Ctrl-C after another signal stops at once. Within ``stopping_together`` the note is one for
    all.
    """
    if _of_all is not None:
        yield _of_all
        _of_all.check()
        return
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.number is not None:
            raise Stopped(number)
        stop.number = number

    with handle_signals(handle):
        yield stop
    # A signal that arrives after the last step must still stop a sweep before its next job.
    stop.check()


_of_all: Stop | None = None


@contextmanager
def stopping_together() -> Iterator[Stop]:
    """Note signals as ``stopping_in_time``, for all that is done within, side by side.

    Blocks that end in another order than they began could not put back each other's handlers.
    """
    global _of_all
    with stopping_in_time() as stop:
        _of_all = stop
        try:
            yield stop
        finally:
            _of_all = None


@contextmanager
def signals_held() -> Iterator[None]:
    """Have signals wait, in this thread and in the processes that it forks meanwhile.

    A new process has the handlers of the old one until it sets its own, and then lets signals in.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_in() -> None:
    """Meet the signals that were held when this process was forked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def handle_signals(handler: Handler) -> Iterator[None]:
    """Call the handler on each of ``SIGNALS`` that is not ignored, whatever handled it before."""
    # Python lets only the main thread set handlers.
    main = threading.current_thread() is threading.main_thread()
    # An ignored signal (in the background, say) stays ignored; a handler in C cannot be restored.
    taken = [s for s in SIGNALS if main and signal.getsignal(s) not in (signal.SIG_IGN, None)]
    before = [signal.signal(number, handler) for number in taken]
    try:
        yield
    finally:
        for number, previous in zip(taken, before, strict=True):
            signal.signal(number, previous)
