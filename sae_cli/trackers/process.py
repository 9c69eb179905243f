"""The process of a tracker: it follows a run folder until the run ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_cli.core.plugins.loading import load
from sae_cli.trackers import TRACKERS
from sae_cli.trackers.record import FOLDER, Tail
from sae_cli.trackers.tracker import About, Line, Tracker

POLL_SECONDS = 1.0
# A run has ended, and its tracker still tries: a server that does not answer.
LAST_SECONDS = 240
IGNORED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP),
    signal.SIGXCPU,
)


def main() -> None:
    """Be a tracker; the first line of the standard input says of what, its end how the run ended.

    One line on the standard output says why it failed, if it did; what libraries print is dropped.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    report = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        _follow(json.loads(_read_line()))
    except BaseException as error:
        text = " ".join(str(error).split())[:500]
        os.write(report, f"{type(error).__name__}: {text}".encode())
        # Threads of a library that failed could keep this process for ever.
        os._exit(1)


def _follow(job: Mapping[str, Any]) -> None:
    about = About(**job["about"] | {key: Path(job["about"][key]) for key in ("folder", "store")})
    section, seen = job["section"], dict(job["seen"])
    # The process of a run that was killed a moment ago may still be at work.
    with (about.folder / FOLDER / f"{section['name']}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if job["plugin"] is not None:
            load([job["plugin"]])
        tracker = TRACKERS.build(section, about)
        tail, last = Tail(about.folder), None
        while True:
            status = _ended(job["pid"])
            lines = tail.read()
            last = lines[-1] if lines else last
            wanted = [line for line in lines if is_wanted(line, tracker.log_every)]
            if wanted:
                tracker.log(wanted)
            if last is not None:
                _show(tracker, about.folder, seen, last)
            if status is not None:
                tracker.end(status)
                return


def is_wanted(line: Line, log_every: int) -> bool:
    """Tell whether a tracker takes a line."""
    return line.epoch is not None or line.step % log_every == 0


def _show(tracker: Tracker, folder: Path, seen: dict[str, int], last: Line) -> None:
    for name, written in pictures(folder).items():
        if seen.get(name) != written:
            tracker.show(name, folder / "pictures" / f"{name}.png", last)
            seen[name] = written


def pictures(folder: Path) -> dict[str, int]:
    """Give the names of a run's pictures, and when each was written, in nanoseconds."""
    files = sorted((folder / "pictures").glob("*.png"))
    return {file.stem: file.stat().st_mtime_ns for file in files}


def _ended(starter: int) -> str | None:
    """Wait a moment; give how the run ended, or None while it is at work."""
    ready, _, _ = select.select([0], [], [], POLL_SECONDS)
    if not ready and os.getppid() == starter:
        return None
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LAST_SECONDS)
    return (_read_line() if ready else "") or "killed"


def _read_line() -> str:
    # Without a buffer, because ``select`` knows nothing of what is in one.
    text = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        text += byte
    return text.decode()
