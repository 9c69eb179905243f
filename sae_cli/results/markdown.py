"""The page of results: rows as Markdown, and its file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import counted, precision, short, with_sd
from sae_cli.results.fair import QUALITY
from sae_cli.results.finished_run import FinishedRun
from sae_cli.results.gather import Row
from sae_cli.results.notes import is_counted, threshold_notes, undefined_notes
from sae_cli.results.trade_offs import trade_offs
from sae_cli.run_folder.files import refuse_link, write_atomically

MARKER = "<!-- Made by sae-report: what is changed by hand will be lost. -->"
NOTHING = "–"  # noqa: RUF001
HEADER = (
    *("system", "variant", "metric", "published", "ours (mean ± sd)"),
    *("within tolerance", "command"),
)


def page(rows: Sequence[Row], runs: Sequence[FinishedRun], unfinished: int, command: str) -> str:
    """Make the whole page; the same folders and the same command give the same text.

    Args:
        rows: the rows of its tables.
        runs: the runs that they were made from.
        unfinished: how many runs were left out.
        command: the command that makes the page.
    """
    left_out = (
        f" Left out: {counted(unfinished, 'unfinished or damaged run')}." if unfinished else ""
    )
    machines = Counter(run.machine for run in runs)
    return "\n".join(
        [
            MARKER,
            "",
            "# Results",
            "",
            f"Made from {counted(len(runs), 'finished run')} by {_code(command)}.{left_out}",
            "Means and sample standard deviations are over seeds; a tolerance is that of the mean.",
            "Of runs with the same settings and seed, the one that started last counts. A command",
            "that sets more than experiment and seeds trains another run than the published one.",
            "",
            *_table(HEADER, map(_cells, rows)),
            *_notes(rows),
            *_trade_offs(runs),
            "",
            "## Seed by seed",
            "",
            *_table(("system", "variant", "metric", "seed: value"), map(_single, rows)),
            "",
            "## Made with",
            "",
            *(f"- {counted(machines[one], 'run')}: {_plain(one)}" for one in sorted(machines)),
            "",
        ]
    )


def check_target(path: Path) -> None:
    """Raise ConfigError unless ``write_page`` may write the file."""
    refuse_link(path)
    if not path.parent.is_dir():
        raise ConfigError(f"{short(path)}: there is no folder {short(path.parent)}; make it first")
    if not path.exists():
        return
    if not path.is_file():
        raise ConfigError(f"{short(path)} is not a file; choose another name")
    with path.open("rb") as file:
        first = file.read(len(MARKER.encode()) + 1)
    if first != f"{MARKER}\n".encode():
        raise ConfigError(
            f"{short(path)} was not made by sae-report and is left as it is; choose another name, "
            "or remove it"
        )


def write_page(path: Path, text: str) -> None:
    """Write the page to its file.

    Raises:
        ConfigError: the file was not made by sae-report.
    """
    check_target(path)
    write_atomically(path, text.encode())


def _notes(rows: Sequence[Row]) -> list[str]:
    """What must be known to read the table; nothing of metrics that explain themselves."""
    thresholds = (
        (f"{_code(row.system)} {_variant(row.variant)}", row.active_above)
        for row in rows
        if is_counted(row.metric)
    )
    values = ((_code(row.metric), value) for row in rows for value in row.values.values())
    notes = [
        *threshold_notes(thresholds),
        *undefined_notes(values, NOTHING),
    ]
    return [line for note in notes for line in ("", note)]


def _trade_offs(runs: Sequence[FinishedRun]) -> list[str]:
    """Show the variants that trade sparsity for reconstruction; nothing where there are none."""
    found = trade_offs(runs)
    if not found:
        return []
    header = ("front", "system", "variant", "sparsity", QUALITY)
    rows = (
        [
            "\\*" if one.on_front else "",
            _code(one.group.system),
            _variant(one.group.variant),
            f"{_code(one.measure.metric)}{_condition(one.measure.condition)} "
            f"{with_sd(one.sparsity, '±')}",
            with_sd(one.quality, "±"),
        ]
        for one in found
    )
    return [
        *("", "## Sparsity against reconstruction", ""),
        "Those on the front (\\*) come first: no other variant of their system is as low in both",
        f"sparsity and {QUALITY}. Only variants with one measure of sparsity are compared.",
        "",
        *_table(header, rows),
    ]


def _cells(row: Row) -> list[str]:
    start = [_code(row.system), _variant(row.variant), _metric(row)]
    return [*start, _published(row), _ours(row), row.verdict or NOTHING, _code(row.command)]


def _published(row: Row) -> str:
    entry = row.published
    if entry is None or entry.value is None:
        return NOTHING if entry is None else f"{NOTHING} ({_plain(entry.source)})"
    value = format(entry.value, precision(entry.value))
    tolerance = "" if entry.tolerance is None else f" ± {entry.tolerance:g}"
    return f"{value}{tolerance} ({_plain(entry.source)})"


def _ours(row: Row) -> str:
    seeds = counted(len(row.values), "seed")
    if row.mean is None:
        return f"{NOTHING} ({seeds})"
    if len(row.measured) < len(row.values):
        seeds = f"{len(row.measured)} of {seeds}"
    style = precision(row.mean)
    sd = "" if row.sd is None else f" ± {row.sd:{style}}"
    return f"{row.mean:{style}}{sd} ({seeds})"


def _single(row: Row) -> list[str]:
    values = (
        f"{seed}: {NOTHING if value is None else format(value, precision(value))}"
        for seed, value in row.values.items()
    )
    return [_code(row.system), _variant(row.variant), _metric(row), ", ".join(values)]


def _metric(row: Row) -> str:
    """Name a metric, and what two rows must share to be compared in it."""
    return f"{_code(row.metric)}{_condition(row.condition)}"


def _condition(condition: str) -> str:
    return f" ({_plain(condition)})" if condition else ""


def _variant(settings: Mapping[str, Any]) -> str:
    """Word settings as they would be typed: a part's name is its group's value."""
    return (
        ", ".join(
            _code(f"{key.removesuffix('.name')}={_value(value)}") for key, value in settings.items()
        )
        or NOTHING
    )


def _value(value: Any) -> str:
    # YAML has dates, too.
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _in_line(text: str) -> str:
    """Replace line breaks and unprintable characters (JSON may hold lone surrogates)."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _plain(text: str) -> str:
    """Escape text, so that Markdown shows it as it is, whoever wrote it."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", _in_line(text))


def _code(text: str) -> str:
    """Format text as code, with a fence longer than any in it and no cell border within."""
    text = _in_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")
