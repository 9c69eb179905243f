"""Evaluations as a table to read, and as a JSON file beside the run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import ABSENT, number, short
from sae_cli.results.evaluation.evaluation import Evaluation
from sae_cli.results.notes import threshold_notes, undefined_notes
from sae_cli.results.tables import Column, fitted
from sae_cli.run_folder.files import as_json, read_json, write_atomically

MADE_BY = "sae-evaluate"
NAME = "evaluation.json"
# The longest name of data within that of a file.
LONGEST_NAME = 80
NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def lines_of(
    found: Sequence[Evaluation],
    together: Mapping[str, Any],
    notes: Sequence[str],
    width: int | None,
) -> list[str]:
    """Show evaluations beside each other, a column for each, and the notes to read them by.

    Args:
        together: metrics of all runs together.
        notes: on these.
        width: of the terminal; None shows every run.
    """
    names = dict.fromkeys(name for one in found for name in one.metrics)
    shown = [name for name in names if not name.endswith("_per_latent")]
    headers = [str(n) for n in range(1, len(found) + 1)] if len(found) > 1 else [_split(found)]
    columns = [Column("metric", [*shown, *together], left=True)]
    for place, (header, one) in enumerate(zip(headers, found, strict=True)):
        # The first run is always there, and has the metrics of all together below its own.
        below = map(number, together.values()) if place == 0 else [""] * len(together)
        cells = [*(number(one.metrics.get(name)) for name in shown), *below]
        columns.append(Column(header, cells, rank=place))
    thresholds = (
        (f"{number}", one.about["active_above"]) for number, one in enumerate(found, start=1)
    )
    return [
        *fitted(columns, width, "--wide shows all runs"),
        *threshold_notes(thresholds),
        f"A latent is dense when more than {found[0].about['dense_above']:.0%} of the examples "
        "activate it.",
        *undefined_notes(
            ((name, one.metrics.get(name)) for one in found for name in ("fvu",)), ABSENT
        ),
        *_notes(found),
        *(f"note: {note}" for note in notes),
    ]


def _split(found: Sequence[Evaluation]) -> str:
    return str(found[0].about["split"])


def _notes(found: Sequence[Evaluation]) -> Iterator[str]:
    """Word the notes on the runs; where there are several, the numbers of those that share one."""
    runs: dict[str, list[str]] = {}
    for place, one in enumerate(found, start=1):
        for note in one.notes:
            runs.setdefault(note, []).append(str(place))
    for note, places in runs.items():
        mark = f" on {', '.join(places)}" if len(found) > 1 else ""
        yield f"note{mark}: {note}"


def target_of(given: Path | None, first: Path, data: str | None = None) -> Path:
    """Choose the file for the evaluation of a run: beside it, unless another one is given.

    Args:
        given: a file; or a folder that is there, for ``evaluation.json`` in it.
        first: the folder or file of the first run.
        data: names data other than its own, whose evaluation leaves that on its own in place.

    Raises:
        ConfigError: no file of sae-evaluate can be there.
    """
    if given is None:
        on = (
            "" if data is None else f".on_{NOT_IN_NAMES.sub('_', data)[-LONGEST_NAME:] or 'others'}"
        )
        target = first.with_name(f"{first.name}{on}.{NAME}")
    else:
        target = given / NAME if given.is_dir() else given
    mend = "give out=FILE"
    if not target.parent.is_dir():
        raise ConfigError(f"{short(target)}: there is no folder {short(target.parent)}; {mend}")
    if target.is_symlink():
        raise ConfigError(f"{short(target)} is a link; {mend} of another name")
    if target.exists() and not _is_ours(target):
        raise ConfigError(f"{short(target)} was not made by {MADE_BY}; {mend} of another name")
    return target


def _is_ours(target: Path) -> bool:
    try:
        return read_json(target).get("made_by") == MADE_BY
    except ConfigError:
        return False


def write(
    target: Path,
    found: Sequence[Evaluation],
    together: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Write evaluations as JSON, with null for what has no value.

    Raises:
        OSError: it cannot be written there.
    """
    runs = [
        {**one.about, "metrics": {k: _plain(v) for k, v in one.metrics.items()}, "notes": one.notes}
        for one in found
    ]
    content = {"made_by": MADE_BY, "runs": runs, "together": dict(together), "notes": list(notes)}
    write_atomically(target, (as_json(content) + "\n").encode())


def _plain(value: Any) -> Any:
    """Give None in place of what JSON does not have."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
