"""The files that a run or a sweep leaves in its folder, and what they tell about it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError, Pruned
from sae_cli.core.text import short
from sae_cli.run_folder.files import TEMPORARY, read_error, read_file, read_json
from sae_cli.run_folder.lock import LOCK, is_locked

STATUS = "status.json"
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
SUMMARY = "summary.json"
LOG = "train.log"
SWEEP = "sweep.yaml"
# It may be this large, which is some thousands of jobs.
MAX_SWEEP_BYTES = 1 << 26
PLUGINS = "plugins"
# A search, and the first job of a sweep, begin within so many bytes.
HEAD_BYTES, QUIET = 1 << 14, re.compile(rb"^\s+quiet: true$", re.MULTILINE)
SEARCH = re.compile(rb"^search:", re.MULTILINE)
ENDED = ("finished", "interrupted", "failed", "pruned")
# A run whose training did not begin leaves only these, so nothing is lost when it starts again.
BEFORE_TRAINING = {LOCK, STATUS, OVERRIDES, ENVIRONMENT, LOG}


def plugin_copy(name: str, sha256: str) -> str:
    """Name the copy of a plug-in's file; whatever stands after the first dot is not its name."""
    return f"{PLUGINS}/{name}.{sha256[:12]}.py"


def holds_run(folder: Path) -> bool:
    """Whether a training has begun there, finished or not."""
    return (folder / CONFIG).is_file()


def holds_sweep(folder: Path) -> bool:
    """Whether a sweep has begun there."""
    return (folder / SWEEP).is_file()


def refuse_runs_within(folder: Path) -> None:
    """Raise ConfigError if runs lie in a folder, each in its own, where one was to be named."""
    if holds_run(folder) or not folder.is_dir():
        return
    first = None
    # What may not be read is refused by whoever reads it.
    with suppress(OSError):
        inner = sorted(folder.iterdir())
        first = next((one for one in inner if holds_run(one) or holds_sweep(one)), None)
    if first is not None:
        held = "a sweep; give one of its runs" if holds_sweep(folder) else "runs; give one of them"
        raise ConfigError(f"{short(folder)} holds {held}, such as {shlex.quote(short(first))}")


def is_free(folder: Path) -> bool:
    """Whether a run may begin there without writing over anything."""
    if not folder.exists():
        return True
    return folder.is_dir() and all(
        path.name in BEFORE_TRAINING or path.name.endswith(TEMPORARY) for path in folder.iterdir()
    )


def status_of(folder: Path) -> str:
    """Give the status of a run; ``waiting`` before it began.

    A run that must be resumed is ``interrupted``: a killed one could not write that it ended, so
    that it is ``running`` without a lock; a status or a summary may have been lost since.
    """
    if not folder.is_dir():
        return "waiting"
    try:
        status = read_json(folder / STATUS).get("status")
        if status == "finished":
            read_summary(folder)
    except ConfigError:
        status = None
    if status in ENDED or (status == "running" and is_locked(folder)):
        return str(status)
    return "interrupted" if status == "running" or holds_run(folder) else "waiting"


def status_of_end(error: BaseException) -> str:
    """Name the status of a run that has ended with this."""
    if isinstance(error, Pruned):
        return "pruned"
    return "failed" if isinstance(error, Exception) else "interrupted"


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the metrics of ``summary.json``; None in place of what is not a number.

    Raises:
        ConfigError: it cannot be read.
    """
    summary = read_json(folder / SUMMARY)
    return {key: value if _is_number(value) else None for key, value in summary.items()}


def _is_number(value: object) -> bool:
    # JSON integers can be too large for a float.
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of ``metrics.jsonl``; a last one that was cut off is left out.

    Raises:
        ConfigError: it cannot be read.
    """
    return _read_lines(folder / METRICS)[0]


def read_whole_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of ``metrics.jsonl`` of a finished run.

    Raises:
        ConfigError: it cannot be read, is empty, or its last line was cut off.
    """
    lines, rest = _read_lines(folder / METRICS)
    if rest or not lines:
        raise read_error(folder / METRICS, ValueError("it is cut off"))
    return lines


def _read_lines(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Read the whole lines, and what is left of the last one."""
    try:
        *whole, rest = read_file(path).decode().split("\n")
        lines = [json.loads(line) for line in whole]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("a line holds no keys")
        return lines, rest
    except (OSError, ValueError, RecursionError) as error:
        raise read_error(path, error) from None


def is_quiet_sweep(path: Path) -> bool:
    """Tell whether the first job of a folder's sweep is quiet, before all of it is read."""
    return QUIET.search(_head(path)) is not None


def holds_search(path: Path) -> bool:
    """Tell whether a folder's sweep is a search, before all of it is read."""
    return SEARCH.search(_head(path)) is not None


def _head(path: Path) -> bytes:
    try:
        with (path / SWEEP).open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def resume_command(path: Path) -> str:
    """The command that resumes a run or a sweep."""
    return f"sae-train resume={shlex.quote(short(path))}"
