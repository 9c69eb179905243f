"""The Pareto front: what no other run beats in both of two metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]


def pareto_front(points: Sequence[Point | None]) -> list[bool]:
    """Tell of each point whether it is on the front.

    A point is on it unless another one is at most as large in both numbers and smaller in one.
    Equal points are on it together; a point that is None or has no value is not.
    """
    known = {point for point in points if point is not None and not any(map(math.isnan, point))}
    front: set[Point] = set()
    lowest = math.inf
    # In this order a point can only be beaten by one before it.
    for point in sorted(known):
        if point[1] < lowest:
            front.add(point)
            lowest = point[1]
    return [point in front for point in points]
