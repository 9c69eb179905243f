"""Calls that go on side by side in one thread, and meet where their work can be done at once.

Each call runs as if it were alone, on a stack of its own (a greenlet). At ``meet`` it waits until
no other call can go on, and one function does the work of all that have come there. At ``wait_for``
it waits for the disk, say, while the others go on. Outside of a company both simply call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast, final

from greenlet import getcurrent, greenlet

from sae_cli.core.errors import Crowded
from sae_cli.core.machine import is_gpu_memory

Brought = TypeVar("Brought")
Got = TypeVar("Got")
OfAll = Callable[[Sequence[Brought]], Sequence[Got]]

# A disk takes its time over each flush, and takes several at once.
WAITING_THREADS = 16


def run_side_by_side(calls: Sequence[Callable[[], None]]) -> None:
    """Run calls side by side, and return when all have ended.

    Raises:
        BaseException: that of the first call that raised one; the others go on to their ends.
    """
    global _company
    assert _company is None, "a company has no company within it"
    with ThreadPoolExecutor(WAITING_THREADS) as threads:
        company = _company = _Company(calls, threads)
        try:
            company.run()
        finally:
            _company = None
    if company.errors:
        raise company.errors[0]


def in_company() -> bool:
    """Whether this is one of several calls that go on side by side."""
    return _company is not None and getcurrent() is not _company.hub


def meet(of_all: OfAll[Brought, Got], brought: Brought) -> Got:
    """Give this call's share of what a function makes of all that the calls bring to it.

    Args:
        of_all: the very function that other calls come to; gives a result for each of what it is
            given, in that order.
    """
    if _company is None or not in_company():
        return of_all([brought])[0]
    return cast(Got, _company.meet(of_all, brought))


def wait_for(call: Callable[[], Got]) -> Got:
    """Give the result of a call that waits more than it computes, while other calls go on."""
    if _company is None or not in_company():
        return call()
    return cast(Got, _company.wait_for(call))


@contextmanager
def crowded() -> Iterator[None]:
    """Raise Crowded for an error of a GPU's memory, of which other calls may have some."""
    try:
        yield
    except RuntimeError as error:
        if in_company() and is_gpu_memory(error):
            raise Crowded("the GPU has too little memory for the jobs of a group") from error
        raise


@final
class _Company:
    """Calls that go on side by side.

    Attributes:
        hub: what a call switches to when it waits.
        errors: what calls have raised.
    """

    def __init__(self, calls: Sequence[Callable[[], None]], threads: ThreadPoolExecutor) -> None:
        self.hub = getcurrent()
        self.errors: list[BaseException] = []
        self._threads = threads
        self._own = [greenlet(partial(self._run, call), parent=self.hub) for call in calls]
        self._ready: deque[Callable[[], Any]] = deque(one.switch for one in self._own)
        self._met: dict[greenlet, tuple[OfAll[Any, Any], Any]] = {}
        self._waiting: dict[Future[Any], greenlet] = {}

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self.errors.append(error)

    def run(self) -> None:
        try:
            while self._ready or self._waiting or self._met:
                if self._ready:
                    self._ready.popleft()()
                elif self._waiting:
                    self._end_waits()
                else:
                    self._hold_meetings()
        except BaseException as error:
            self._end_all(error)
            raise

    def _end_all(self, error: BaseException) -> None:
        """Raise an error in every call that has begun: a signal came while none was at work."""
        global _company
        # What they still do is done one after the other, because nobody would switch to them again.
        _company = None
        wait(self._waiting)
        for one in self._own:
            if one:
                one.throw(error)

    def meet(self, of_all: OfAll[Any, Any], brought: Any) -> Any:
        self._met[getcurrent()] = of_all, brought
        return self.hub.switch()

    def wait_for(self, call: Callable[[], Any]) -> Any:
        self._waiting[self._threads.submit(call)] = getcurrent()
        return self.hub.switch()

    def _end_waits(self) -> None:
        ended, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
        for future in ended:
            one, error = self._waiting.pop(future), future.exception()
            go_on = partial(one.throw, error) if error else partial(one.switch, future.result())
            self._ready.append(go_on)

    def _hold_meetings(self) -> None:
        met, self._met = self._met, {}
        for of_all in dict.fromkeys(of_all for of_all, _ in met.values()):
            here = {one: brought for one, (function, brought) in met.items() if function == of_all}
            try:
                results = of_all([*here.values()])
            except Exception as error:
                self._ready += [partial(one.throw, error) for one in here]
            else:
                pairs = zip(here, results, strict=True)
                self._ready += [partial(one.switch, result) for one, result in pairs]


_company: _Company | None = None
