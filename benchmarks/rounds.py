"""Measurements in turn, A B C A B C ..., so that other work of the machine affects all alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")
# Everything measured, for --output.
RAW: list[dict[str, Any]] = []


def in_turn(table: str, cases: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call every case once a round; give its results, by case, in the order of the rounds."""
    results: dict[str, list[T]] = {name: [] for name in cases}
    for number in range(1, rounds + 1):
        for name, call in cases.items():
            print(f"{table}: round {number} of {rounds}: {name}", file=sys.stderr, flush=True)
            results[name].append(call())
    return results


def keep(table: str, case: str, quantity: str, values: Sequence[float | None]) -> None:
    """Note the raw figures of a case, one for each round."""
    RAW.append({"table": table, "case": case, "quantity": quantity, "rounds": list(values)})


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Format ``median (lowest-highest)``."""
    low, mid, high = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{mid} ({low}-{high})"


def ratios(above: Sequence[float] | None, below: Sequence[float] | None) -> str:
    """Format the spread of the ratios within each round; a dash if a side was not measured."""
    if above is None or below is None:
        return "-"
    return spread([a / b for a, b in zip(above, below, strict=True)], 2)


def markdown(title: str, note: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a titled table."""
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\n## {title}\n\n{note}\n\n{table}\n"
