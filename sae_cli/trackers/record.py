"""The record that trackers copy: ``trackers/record.jsonl`` in the run folder.

It has a line for each evaluation, with the metrics of ``metrics.jsonl``, and lines of single steps
between them, in their order. What stands there may come from a stranger.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, final

from sae_cli.trackers.tracker import Line

FOLDER = "trackers"
RECORD = f"{FOLDER}/record.jsonl"
KEYS = ("step", "time", "stage", "epoch")


def parse(text: bytes) -> Line | None:
    """Read a line of the record; None for what is not one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return from_json(found) if isinstance(found, dict) else None


def from_json(found: Mapping[str, Any]) -> Line | None:
    """Make a line of the keys and values of one; None if it is not one."""
    step, time, stage, epoch = (found.get(key) for key in KEYS)
    values = {
        str(key): float(value)
        for key, value in found.items()
        if key not in KEYS and _is_finite(value)
    }
    if type(step) is not int or not _is_finite(time) or not isinstance(stage, str):
        return None
    if epoch is not None and type(epoch) is not int:
        return None
    return Line(step, float(time), stage, epoch, values)


def to_json(line: Line) -> dict[str, Any]:
    """Give the keys and values of a line, as the record holds them."""
    about = {key: getattr(line, key) for key in KEYS if getattr(line, key) is not None}
    return about | line.values


def _is_finite(value: Any) -> TypeGuard[float]:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def read(folder: Path) -> Iterator[Line]:
    """Read the whole lines of a run folder's record, up to the first that is damaged.

    Raises:
        OSError: there is one, and it cannot be read.
    """
    return iter(Tail(folder).read())


@final
class Tail:
    """The lines that a record has come to have since it was last read.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self._done = 0

    def read(self) -> list[Line]:
        """Read whole lines, up to the first that is damaged.

        Raises:
            OSError: there is a record, and it cannot be read.
        """
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._done)
            whole = file.read().split(b"\n")[:-1]
        lines = []
        for text in whole:
            line = parse(text)
            if line is None:
                break
            lines.append(line)
            self._done += len(text) + 1
        return lines
