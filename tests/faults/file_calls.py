"""Commands that are killed at one of their calls on the files of a folder."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.forked import Before, no_fsync

# Python announces each of these calls; ``open`` is that of the system as well.
CALLS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
# These say when a run was made, and by which process.
OWN = {".lock", "train.log", "environment.json", "status.json", "summary.json", "report.html"}


def killed_at(folder: Path, number: int, names: tuple[str, ...] = ("",)) -> Before:
    """Have a process kill itself just before that call on a file in or below the folder.

    Args:
        names: the beginnings of the names of those files whose calls count. With all files,
            flushes count too.
    """
    return partial(_kill_at, folder, number, names)


def _kill_at(folder: Path, number: int, names: tuple[str, ...]) -> None:
    calls = itertools.count(1)

    def count() -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CALLS and isinstance(arguments[0], str | Path):
            path = Path(arguments[0])
            if path.is_relative_to(folder) and path.name.startswith(names):
                count()

    def sync(file: object) -> None:
        if "" in names:
            count()
        no_fsync(file)

    sys.addaudithook(hear)
    os.fsync = sync  # type: ignore[assignment]


def outcome(folder: Path) -> dict[str, Any]:
    """Give every file of a run or a sweep by its path; of records, what does not change with time.

    Checkpoints hold the seconds that were taken; their names count.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name == ".lock":
            continue
        found[name] = None if path.name in OWN or path.suffix == ".pt" else path.read_bytes()
        if path.name == "summary.json":
            found[name] = json.loads(path.read_text()) | {"seconds": None}
        if path.name == "status.json":
            found[name] = json.loads(path.read_text())["status"]
    return found
