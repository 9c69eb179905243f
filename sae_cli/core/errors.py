"""The errors that end a command, and the exit code of each.

::

    Exception
      SaeError
        ConfigError       2        wrong input that the user can mend
        DivergedError     3        the loss or a weight is not finite
        MachineError      4        the machine gave out before anything was begun, or lost a file
        MovedError        4        the folder of a run at work is no longer in its place
        CheckpointError   6        no checkpoint can be used
        InUseError        75       another process is at work in the folder
      OSError, MemoryError
                          4 or 2   the machine gave out, or a path was wrong: see commands.exits
    BaseException
      Stopped             128 + n  signal n asked to stop
      Pruned                       a search stopped one of its runs early; never ends a command

Any other exception is a bug: a traceback, and exit code 1.
"""

from __future__ import annotations

import difflib
import errno
import re
import signal
import unicodedata
from collections.abc import Iterable, Sequence
from typing import ClassVar

from sae_cli.core.synonyms import meanings

# These errors are the machine's fault, not the request's.
MACHINE_GAVE_OUT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM),
    *(errno.EMFILE, errno.ENFILE, errno.EAGAIN),
}
# A longer text of an error loses its middle.
MAX_TEXT = 2000
# Names less alike than this have nothing to do with each other.
ALIKE = 0.65
# A name of fewer letters begins many others by chance.
SHORTEST = 3


class SaeError(Exception):
    """An error whose text is one line for the user: what was given, what is allowed, what to do."""

    exit_code: ClassVar[int]

    def __init__(self, text: str) -> None:
        super().__init__(in_one_line(text))


class ConfigError(SaeError):
    """Wrong input that the user can mend."""

    exit_code = 2


class DivergedError(SaeError):
    """The loss or a weight is no longer a finite number."""

    exit_code = 3


class MachineError(SaeError):
    """The machine gives less than a command needs, or can no longer read its data."""

    exit_code = 4


class MovedError(SaeError):
    """The folder that a process works in was moved, removed or replaced."""

    exit_code = 4


class CheckpointError(SaeError):
    """No checkpoint of the run can be used."""

    exit_code = 6


class InUseError(SaeError):
    """Another process is at work in the folder."""

    exit_code = 75


class Stopped(BaseException):
    """A signal asked to stop.

    Args:
        number: the signal's number.
        saved: one line on what was saved and how to resume.
    """

    def __init__(self, number: int, saved: str = "") -> None:
        name = signal.Signals(number).name
        super().__init__(in_one_line(f"stopped by {name}{': ' if saved else ''}{saved}"))
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


class Crowded(BaseException):
    """Trainings of one process need more memory than their GPU has; fewer may have enough."""

    exit_code = 71


class Pruned(BaseException):
    """A search stopped one of its runs early, because it is worse than those before."""


def in_one_line(text: str) -> str:
    """Make a text that may quote a stranger's file safe to print as one line.

    Characters that would break the line or command the terminal become escapes, and the middle of
    a very long text is left out.
    """
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]} ... {text[-MAX_TEXT // 2 :]}"
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def nearest(given: str, allowed: Iterable[str], prefix: str = "") -> str:
    """Suggest the allowed name nearest to the given one, in meaning before letters: ``; did you
    mean X?``, or an empty text.

    ``prefix`` stands before the suggested name and plays no part in the comparison of letters.
    """
    names = list(allowed)
    for meant in meanings(given):
        choice = meant.rpartition("=")[2]
        for name in names:
            if f"{prefix}{name}" == meant or ("=" in meant and name == choice):
                return f"; did you mean {prefix}{name}?"
    close = most_alike(given, names, ALIKE)
    return f"; did you mean {prefix}{close}?" if close else ""


def most_alike(given: str, names: Sequence[str], cutoff: float) -> str | None:
    """Give the name that is most like the given one, or None if none is alike.

    Capital letters make no difference. A name of the same words in another order comes first, then
    one whose last part is the given one, such as ``val/fvu`` for ``fvu``, then the one that is
    spelled most like it, then one that it begins with, such as ``cosine`` for ``cosine_annealing``.

    Args:
        cutoff: how much of two names has to be spelled alike, from 0 to 1.
    """
    plain = {name.lower(): name for name in names}
    asked = given.lower()
    same = [name for name in plain if sorted(name.split("_")) == sorted(asked.split("_"))]
    ends = [name for name in plain if re.split("[/.]", name)[-1] == asked]
    # Of the metrics of several splits, a run is judged by this one.
    ends.sort(key=lambda name: not name.startswith("val/"))
    alike = difflib.get_close_matches(asked, plain, n=max(1, len(plain)), cutoff=cutoff)
    # Letters that have changed places are a single slip, and count as two to difflib.
    alike.sort(key=lambda name: sorted(name) != sorted(asked))
    begins = [name for name in plain if len(name) >= SHORTEST and asked.startswith(f"{name}_")]
    begins.sort(key=len, reverse=True)
    return next((plain[name] for name in (*same, *ends, *alike, *begins)), None)
