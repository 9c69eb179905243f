"""Lists of runs as aligned lines and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sae_cli.config.settings import FREE
from sae_cli.core.errors import in_one_line
from sae_cli.core.text import ABSENT, number, short
from sae_cli.results.fair import codes_are_counted
from sae_cli.results.listing.listed import Listed
from sae_cli.results.notes import COUNTED
from sae_cli.results.tables import Column, fitted

# These metrics are shown of runs that have them. Of the columns that do not fit, those of the
# highest rank are hidden.
RANKS = {
    **{"val/loss": 7, "val/fvu": 2, "val/l0": 3, "val/dead_latents": 7},
    **{"test/fvu": 8, "test/accuracy": 4},
}
OF_STATUS, OF_MODEL, OF_AGE, OF_SETTINGS, OF_NAMED = 1, 3, 5, 6, 9
# The first columns of CSV.
COLUMNS = ("path", "name", "status", "model", "data", "dataset", "started")
# These have columns of their own, or change no number.
OWN = ("model", "experiment", "dataset", *FREE, "device.threads")
# A run has far more settings than fit a line.
MOST_SETTINGS, MOST_TEXT = 6, 60
# The longest first: a unit of time and its seconds.
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def lines_of(
    runs: Sequence[Listed], more: Iterable[str], now: datetime, width: int | None
) -> list[str]:
    """Show runs as aligned lines, with what sets apart those of the same model and data.

    Args:
        more: further settings and metrics to show.
        now: what ages are counted to.
        width: of the terminal; None shows every column.
    """
    metrics = [name for name in RANKS if any(name in run.metrics for run in runs)]
    extra = [name for name in dict.fromkeys(more) if name not in (*metrics, *COLUMNS)]
    asked = {*more}
    apart = differing(runs)
    # A folder that was named for its run says these two already.
    named = all(run.model in run.path.name and run.data in run.path.name for run in runs)
    of_model = OF_NAMED if named else OF_MODEL
    columns = [
        Column("run", [short(run.path) for run in runs], left=True),
        Column("status", [run.status for run in runs], OF_STATUS, left=True),
        Column("model", [run.model for run in runs], of_model, left=True),
        Column("data", [run.data for run in runs], of_model, left=True),
        *(
            Column(name, [_metric(run, name) for run in runs], 0 if name in asked else RANKS[name])
            for name in metrics
        ),
        *(Column(name, [shown(run.value(name)) for run in runs]) for name in extra),
        Column("age", [age(run.started, now) for run in runs], OF_AGE),
        Column(
            "settings",
            [" ".join(_settings(run, apart[run.model, run.data])) for run in runs],
            OF_SETTINGS,
            left=True,
        ),
    ]
    faults = [f"{short(run.path)}: {run.fault}" for run in runs if run.fault]
    return [*fitted(columns, width, "--wide or --csv show all"), *faults]


def _metric(run: Listed, name: str) -> str:
    """Show a metric of a run, unless it says nothing of its model."""
    if name.rpartition("/")[2] in COUNTED and not codes_are_counted(
        run.parts, run.metrics.get("active_above")
    ):
        return ABSENT
    return number(run.metrics.get(name))


def differing(runs: Iterable[Listed]) -> dict[tuple[str, str], list[str]]:
    """Find, for each model and data set, the settings in which their runs differ."""
    groups: dict[tuple[str, str], list[Listed]] = {}
    for run in runs:
        groups.setdefault((run.model, run.data), []).append(run)
    return {
        group: [key for key in differing_of_all(own) if key not in OWN]
        for group, own in groups.items()
    }


def as_csv(runs: Sequence[Listed]) -> str:
    """Write runs as CSV: a row each; what identifies them, what differs, and every metric."""
    metrics = [name for run in runs for name in run.metrics]
    columns = list(dict.fromkeys([*COLUMNS, *differing_of_all(runs), *metrics]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(column) for column in columns])
    for run in runs:
        writer.writerow([_cell(run.value(column)) for column in columns])
    return text.getvalue()


def differing_of_all(runs: Sequence[Listed]) -> list[str]:
    """Find the settings in which any of the runs differ."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    readable = [run for run in runs if run.settings]
    return [
        key
        for key in keys
        if key not in FREE and len({shown(run.settings.get(key)) for run in readable}) > 1
    ]


def age(started: datetime | None, now: datetime) -> str:
    """Word how long ago a run began: ``3d``, ``5h``, ``12min``."""
    if started is None:
        return "-"
    seconds = max(0.0, (now - started.astimezone(UTC)).total_seconds())
    unit, size = next(((unit, n) for unit, n in UNITS if seconds >= n), UNITS[-1])
    return f"{int(seconds // size)}{unit}"


def _settings(run: Listed, keys: Sequence[str]) -> Iterator[str]:
    found = [key for key in keys if key in run.settings]
    for key in found[:MOST_SETTINGS]:
        yield f"{key}={shown(run.settings[key])}"
    if len(found) > MOST_SETTINGS:
        yield f"(and {len(found) - MOST_SETTINGS} more)"


def shown(value: Any) -> str:
    """Show a value as it is typed, shortened."""
    text = _text(value)
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 3]}..."


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value, separators=(",", ":"), default=str)


def _cell(value: Any) -> str:
    """Write a value into a cell; a spreadsheet must not take a stranger's text for a formula."""
    text = (
        "" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    )
    text = in_one_line(text)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@") else text
