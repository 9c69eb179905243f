"""Messages between the ranks of a run: short texts, in the store that ``torchrun`` keeps.

Waiting looks again and again, because a signal is met only between two looks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, final

from sae_cli.core.errors import (
    CheckpointError,
    ConfigError,
    DivergedError,
    InUseError,
    MachineError,
    SaeError,
    Stopped,
)
from sae_cli.core.ranks.launched import Launch

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

LOOK_SECONDS = 0.02
# How long a rank that was left alone waits for the first one to end in order, and how long one that
# a signal has asked to stop as well.
ENDING_SECONDS, ASKED_SECONDS = 60.0, 2.0
ENDED, ERROR = "ended", "error"
ERRORS: dict[int, type[SaeError]] = {
    one.exit_code: one
    for one in (ConfigError, DivergedError, MachineError, CheckpointError, InUseError)
}


class LeftAlone(Exception):
    """The connection to another rank is closed; the first one says why.

    Attributes:
        asked: whether a signal has asked this rank to stop, too.
    """

    asked = False


@final
class Messages:
    """The messages of a run.

    Args:
        launch: the place of this process.

    Attributes:
        calls: how many trainings the ranks have been called to.

    Raises:
        MachineError: ``torchrun`` cannot be reached.
    """

    def __init__(self, launch: Launch) -> None:
        # The import of torch takes seconds.
        from torch.distributed import PrefixStore  # type: ignore[attr-defined]
        from torch.distributed.rendezvous import rendezvous

        try:
            store, _, _ = next(rendezvous("env://"))
        except RuntimeError as error:
            text = str(error).partition("\n")[0]
            raise MachineError(f"the other processes cannot be reached: {text}") from None
        self.launch = launch
        self.calls = 0
        self.store: Store = PrefixStore("sae-train", store)

    def send(self, key: str, content: Mapping[str, Any]) -> None:
        """Leave a message for all; the first of several under one key counts."""
        self.store.compare_set(key, "", json.dumps(content))

    def read(self, key: str) -> dict[str, Any]:
        """Give a message that is there."""
        found: dict[str, Any] = json.loads(self.store.get(key))
        return found

    def wait_for_any(self, keys: Sequence[str], seconds: float = math.inf) -> str | None:
        """Wait until one of the messages is there; give its key, or None after so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key in keys:
                if self.store.check([key]):
                    return key
            time.sleep(LOOK_SECONDS)
        return None

    def wait_for_all(self, keys: Sequence[str]) -> None:
        """Wait until all of the messages are there.

        Raises:
            SaeError, Stopped: another rank has left an error.
        """
        for key in keys:
            if self.wait_for_any([key, ERROR]) == ERROR:
                raise self.error()

    def wait_for_end(self, *, asked: bool) -> bool:
        """Wait until the first rank has ended, but not for ever, because it may be lost; tell
        whether it has.

        Args:
            asked: whether a signal has asked this rank to stop, which then does not wait for long.
        """
        try:
            seconds = ASKED_SECONDS if asked else ENDING_SECONDS
            return self.wait_for_any([ENDED], seconds) is not None
        except RuntimeError:
            # The store has ended with the launcher.
            return False

    def send_error(self, code: int, text: str) -> None:
        """Tell the first rank with which exit code and line this one would end."""
        who = f"process {self.launch.rank} of {self.launch.size}"
        with suppress(RuntimeError):
            self.send(ERROR, {"code": code, "text": f"{who}: {text}"})

    def send_end(self) -> None:
        """Tell the others that the first rank has ended."""
        with suppress(RuntimeError):
            self.send(ENDED, {})

    def error(self) -> BaseException:
        """Give the error that another rank has left, or one that says that it was lost."""
        if not self.store.check([ERROR]):
            return MachineError(
                "another process of this run was lost; what was saved before is kept, and the run "
                "can be resumed"
            )
        found = self.read(ERROR)
        code, text = found["code"], found["text"]
        if code > 128:
            return Stopped(code - 128)
        # Any other is a bug, which ends with a traceback of both.
        return ERRORS[code](text) if code in ERRORS else RuntimeError(text)


_messages: Messages | None = None


def connected() -> Messages | None:
    """Give the messages of the ranks that this process belongs to; None where it trains alone."""
    return _messages


def launched() -> Launch | None:
    """Give the place of this process among those that train a run together, or None.

    A program of somebody's own that ``torchrun`` has started trains alone in each process.
    """
    return None if _messages is None else _messages.launch


@contextmanager
def taking_part(messages: Messages) -> Iterator[None]:
    """Train together with the others within."""
    global _messages
    _messages = messages
    try:
        yield
    finally:
        _messages = None
