"""What stops a run, other than wrong input; each has an exit code of its own in ``cli``."""

from __future__ import annotations

import difflib
import errno
import signal
import unicodedata
from collections.abc import Iterable

# Faults of the machine rather than of what was asked of it.
MACHINE_GAVE_OUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM}


# Of an error's text.
MAX_TEXT = 4000


def in_one_line(text: str) -> str:
    """A text that may quote a stranger's file: what would break the line or command the terminal
    shows as an escape, and the middle of a very long text is left out."""
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]} ... {text[-MAX_TEXT // 2 :]}"
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


class DivergedError(Exception):
    """The loss or a weight is no longer a finite number."""


class CheckpointError(Exception):
    """No checkpoint of the run can be used."""

    def __init__(self, text: str) -> None:
        super().__init__(in_one_line(text))


class InUseError(Exception):
    """Another process is at work in the folder."""


class Stopped(BaseException):
    """A signal asked to stop.

    Args:
        number: of the signal.
        saved: what was done about it and what to do, in one line.
    """

    def __init__(self, number: int, saved: str = "") -> None:
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name}{': ' if saved else ''}{saved}")
        self.number = number


class ConfigError(Exception):
    """Wrong input that the user can mend.

    Its text is one line: what was given, what is allowed, what to do.
    """

    def __init__(self, text: str) -> None:
        super().__init__(in_one_line(text))


def nearest(given: str, allowed: Iterable[str], prefix: str = "") -> str:
    """``; did you mean X?`` for the allowed name nearest to the given one, else nothing.

    ``prefix`` stands before the name that is suggested, and plays no part in the comparison.
    """
    close = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
