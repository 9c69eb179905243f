"""The lines of a search for several objectives: its Pareto front first."""

from __future__ import annotations

from collections.abc import Sequence

from sae_cli.runs.sweeps.lines import Line
from sae_cli.training.better import higher_is_better

Point = tuple[float, ...]


def best_first(lines: Sequence[Line], objectives: Sequence[str]) -> tuple[list[Line], list[bool]]:
    """Sort lines: those on the front first, and by the first objective.

    Returns:
        the lines, and whether each is on the front.
    """
    points = [_point(line, objectives) for line in lines]
    known = {point for point in points if point is not None}
    on_front = [point is not None and not _is_beaten(point, known) for point in points]

    def rank(number: int) -> tuple[bool, bool, Point]:
        point = points[number]
        return not on_front[number], point is None, point or ()

    order = sorted(range(len(lines)), key=rank)
    return [lines[number] for number in order], [on_front[number] for number in order]


def _point(line: Line, objectives: Sequence[str]) -> Point | None:
    """Give the objectives of a line, lower is better; None unless it has all of them."""
    found = []
    for name in objectives:
        value = line.mean(name)
        if value is None:
            return None
        found.append(-value if higher_is_better(name) else value)
    return tuple(found)


def _is_beaten(point: Point, others: set[Point]) -> bool:
    """Tell whether another point is at least as good in everything, and not the same."""
    return any(
        other != point and all(a <= b for a, b in zip(other, point, strict=True))
        for other in others
    )
