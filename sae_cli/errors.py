"""What stops a run, other than wrong input; each has an exit code of its own in ``cli``."""

from __future__ import annotations

import errno
import signal

# Faults of the machine rather than of what was asked of it.
MACHINE_GAVE_OUT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM}


class DivergedError(Exception):
    """The loss or a weight is no longer a finite number."""


class CheckpointError(Exception):
    """No checkpoint of the run can be used."""


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
