"""One run in detail, and two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import number, short, table
from sae_cli.results.listing.listed import Listed, read_listed
from sae_cli.results.listing.table import shown
from sae_cli.run_folder.layout import MODEL, holds_run, resume_command

ABSENT = "-"


def read_run(path: Path) -> Listed:
    """Read a run that somebody has named.

    Raises:
        ConfigError: it is no run, or its configuration or metrics cannot be read.
    """
    if not holds_run(path):
        if not path.exists():
            raise ConfigError(f"{short(path)}: no such folder; give that of a run")
        raise ConfigError(f"{short(path)} holds no run; give the folder of one")
    run = read_listed(path)
    if run.fault:
        raise ConfigError(run.fault)
    return run


def show(run: Listed) -> Iterator[str]:
    """Tell of a run: its status, settings, metrics and pictures."""
    yield f"{short(run.path)}: {run.status}{_when(run)}"
    yield ""
    yield from table(["metric", "value"], list(run.metrics.items()))
    yield ""
    yield from (f"{key}={shown(value)}" for key, value in run.settings.items())
    yield ""
    yield from (short(picture) for picture in pictures(run.path))
    if run.status in {"interrupted", "failed", "pruned"}:
        yield f"resume: {resume_command(run.path)}"
    if (run.path / MODEL).is_file():
        yield f"in Python: sae_cli.load_run({str(run.path)!r})"


def compare(one: Listed, other: Listed) -> Iterator[str]:
    """Put two runs side by side: the settings that differ, every metric, pictures by path."""
    for letter, run in (("A", one), ("B", other)):
        yield f"{letter}: {short(run.path)}: {run.status}{_when(run)}"
    yield ""
    yield from _side_by_side("setting", one.settings, other.settings, equal=False)
    yield ""
    yield from _side_by_side("metric", one.metrics, other.metrics, equal=True)
    yield ""
    of_one, of_other = ({file.name: file for file in pictures(run.path)} for run in (one, other))
    for name in dict.fromkeys([*of_one, *of_other]):
        paths = (short(found[name]) if name in found else ABSENT for found in (of_one, of_other))
        yield "  ".join(paths)


def pictures(path: Path) -> list[Path]:
    """List the pictures of a run."""
    return sorted((path / "pictures").glob("*.png"))


def _side_by_side(
    what: str, one: dict[str, Any], other: dict[str, Any], *, equal: bool
) -> list[str]:
    """Show values side by side.

    Args:
        equal: whether those that are the same are shown, too.
    """
    rows = [
        [key, _cell(one, key), _cell(other, key)]
        for key in dict.fromkeys([*one, *other])
        if equal or _cell(one, key) != _cell(other, key)
    ]
    return table([what, "A", "B"], rows) if rows else [f"no {what} differs"]


def _cell(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return ABSENT
    value = values[key]
    return number(value) if "/" in key else shown(value)


def _when(run: Listed) -> str:
    return "" if run.started is None else f", begun {run.started.isoformat(timespec='seconds')}"
