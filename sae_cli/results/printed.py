"""The rows of a report as a table for a terminal; ``markdown`` makes the whole page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sae_cli.core.errors import in_one_line
from sae_cli.core.text import ABSENT, precision, with_sd
from sae_cli.results.gather import Row
from sae_cli.results.tables import BETWEEN, Column, fitted, wrapped


def printed(rows: Sequence[Row], width: int) -> list[str]:
    """Lay rows out in so many columns of a terminal, without commands and single seeds.

    What tells rows apart stands above them where it has no room beside them.
    """
    columns = [
        Column("system", [row.system for row in rows], 1, left=True),
        Column("variant", [_variant(row.variant) for row in rows], 1, left=True),
        Column("metric", [_metric(row) for row in rows], left=True),
        Column("published", [_published(row) for row in rows], 2),
        Column("ours", [with_sd(row.measured) for row in rows]),
        Column("seeds", [str(len(row.values)) for row in rows], 4),
        Column("within tolerance", [row.verdict or ABSENT for row in rows], 3),
    ]
    whole = "commands and single seeds: --wide prints the whole page, --into FILE writes it"
    names = [one for one in columns[:2] if len({*one.cells}) > 1]
    needed = [*names, *(one for one in columns if not one.rank)]
    if sum(len(BETWEEN) + one.width for one in needed) - len(BETWEEN) <= width:
        return [*fitted(columns, width, "--wide shows all"), whole]
    others = [one for one in columns if one not in names]
    lines = fitted(others, width - len(BETWEEN), "--wide shows all")
    # What stands above the header begins with another word.
    header = next(i for i, line in enumerate(lines) if line.startswith("metric"))
    end, last = header + 1 + len(rows), ""
    found = [*lines[:header], f"{BETWEEN}{lines[header]}"]
    for line, *cells in zip(lines[header + 1 : end], *(one.cells for one in names), strict=True):
        if (name := in_one_line(": ".join(cells))) != last:
            found += wrapped(name, width)
        found.append(f"{BETWEEN}{line}")
        last = name
    return [*found, *lines[end:], whole]


def _variant(settings: Mapping[str, Any]) -> str:
    """Word settings as they would be typed, without the groups of options."""
    found = [
        f"{key.removesuffix('.name').rpartition('.')[2]}="
        f"{value if isinstance(value, str) else json.dumps(value, default=str)}"
        for key, value in settings.items()
    ]
    return " ".join(found) or ABSENT


def _metric(row: Row) -> str:
    return f"{row.metric} ({row.condition})" if row.condition else row.metric


def _published(row: Row) -> str:
    entry = row.published
    if entry is None or entry.value is None:
        return ABSENT
    value = format(entry.value, precision(entry.value))
    return value if entry.tolerance is None else f"{value} +- {entry.tolerance:g}"
