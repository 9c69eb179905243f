"""Numbers, paths and aligned tables for people to read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sae_cli.core.errors import in_one_line

# What stands in a table in place of what has no value.
ABSENT = "-"


def say(line: str = "") -> None:
    """Print one line; what it quotes from a file can neither break it nor command the terminal."""
    print(in_one_line(line), flush=True)


def short(path: Path) -> str:
    """Shorten a path inside the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def counted(n: int, noun: str) -> str:
    """Word a number of things: ``1 run``, ``2 runs``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def in_units(n_bytes: int) -> str:
    """Word a size: ``12.3 MB``, ``4.5 GB``."""
    unit, name = (1e9, "GB") if n_bytes >= 1e9 else (1e6, "MB")
    return f"{n_bytes / unit:,.1f} {name}"


def duration(seconds: float) -> str:
    """Word a time that is about so long: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} d"


def number(value: Any) -> str:
    """Format a metric with four decimals, a count without, a small number with an exponent.

    What has no value, None or NaN, is ``-``.
    """
    if value is None or value != value:
        return ABSENT
    if not isinstance(value, float):
        return str(value)
    return format(value, precision(value))


def precision(value: float) -> str:
    """The format for a metric of this size; use it for its tolerance and deviation as well."""
    if value != 0.0 and abs(value) < 1e-3:
        return ".2e"
    return ".4f" if abs(value) < 100 else ".1f"


def with_sd(values: Sequence[float], sign: str = "+-") -> str:
    """Word values by their mean and sample standard deviation (divided by n - 1); one as it is.

    Args:
        sign: between the two; not every terminal has a better one.
    """
    if len(values) < 2:
        return number(values[0] if values else None)
    mean = statistics.fmean(values)
    style = precision(mean)
    return f"{mean:{style}} {sign} {statistics.stdev(values):{style}}"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Align rows as lines: the first column to the left, the others to the right."""
    cells = [list(header)] + [[str(row[0]), *(number(value) for value in row[1:])] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
