"""One run in detail, and two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import ABSENT, number, short, table
from sae_cli.results.listing.listed import Listed, read_listed
from sae_cli.results.listing.table import shown
from sae_cli.results.tables import USUAL, Column, fitted, wrapped
from sae_cli.run_folder.layout import MODEL, holds_run, refuse_runs_within, resume_command

PICTURES = "pictures"


def read_run(path: Path) -> Listed:
    """Read a run that somebody has named.

    Raises:
        ConfigError: it is no run, or its configuration or metrics cannot be read.
    """
    if not holds_run(path):
        if not path.exists():
            raise ConfigError(f"{short(path)}: no such folder; give that of a run")
        refuse_runs_within(path)
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
    if found := pictures(run.path):
        yield f"pictures in {short(run.path / PICTURES)}:"
        yield from wrapped(" ".join(found), USUAL)
    if run.status in {"interrupted", "failed", "pruned"}:
        yield f"resume: {resume_command(run.path)}"
    if (run.path / MODEL).is_file():
        yield f"in Python: sae_cli.load_run({str(run.path)!r})"


def compare(one: Listed, other: Listed, width: int | None) -> Iterator[str]:
    """Put two runs side by side: the settings that differ, every metric, the names of pictures.

    Args:
        width: of the terminal; None cuts nothing.
    """
    for letter, run in (("A", one), ("B", other)):
        yield f"{letter}: {short(run.path)}: {run.status}{_when(run)}"
    yield ""
    yield from _side_by_side("setting", one.settings, other.settings, width, equal=False)
    yield ""
    yield from _side_by_side("metric", one.metrics, other.metrics, width, equal=True)
    of_one, of_other = pictures(one.path), pictures(other.path)
    for what, names in (
        ("pictures of both", [name for name in of_one if name in of_other]),
        ("pictures of A alone", [name for name in of_one if name not in of_other]),
        ("pictures of B alone", [name for name in of_other if name not in of_one]),
    ):
        if names:
            yield ""
            yield f"{what}, in {PICTURES}/:"
            yield from wrapped(" ".join(names), USUAL)


def pictures(path: Path) -> list[str]:
    """List the names of the pictures of a run."""
    return sorted(picture.name for picture in (path / PICTURES).glob("*.png"))


def _side_by_side(
    what: str, one: dict[str, Any], other: dict[str, Any], width: int | None, *, equal: bool
) -> list[str]:
    """Show values side by side.

    Args:
        equal: whether those that are the same are shown, too.
    """
    pairs = {key: (_cell(one, key), _cell(other, key)) for key in dict.fromkeys([*one, *other])}
    keys = [key for key, (a, b) in pairs.items() if equal or a != b]
    if not keys:
        return [f"no {what} differs"]
    sides = [[pairs[key][side] for key in keys] for side in (0, 1)]
    # Settings are texts, and metrics are numbers.
    columns = [Column(side, cells, left=not equal) for side, cells in zip("AB", sides, strict=True)]
    return fitted([Column(what, keys, left=True), *columns], width, "--wide shows all")


def _cell(values: dict[str, Any], key: str) -> str:
    if key not in values:
        return ABSENT
    value = values[key]
    return number(value) if "/" in key else shown(value)


def _when(run: Listed) -> str:
    return "" if run.started is None else f", begun {run.started.isoformat(timespec='seconds')}"
