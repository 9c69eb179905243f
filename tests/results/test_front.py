"""The Pareto front, against comparing every point with every other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sae_cli.results.front import Point, pareto_front


def brute_force(points: list[Point]) -> list[bool]:
    def beaten(one: Point) -> bool:
        return any(other[0] <= one[0] and other[1] <= one[1] and other != one for other in points)

    return [not beaten(one) for one in points]


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_that_of_comparing_all_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    # Few different numbers, so that many are equal in one or both.
    table = random.integers(0, 3 + 5 * seed, (40, 2)) / 4.0
    points = [(float(a), float(b)) for a, b in table]
    assert pareto_front(points) == brute_force(points)


def test_what_has_no_value_is_not_on_the_front_and_beats_nothing() -> None:
    points = [None, (1.0, 2.0), (math.nan, 0.0), (0.0, math.nan), (2.0, 1.0), (2.0, 2.0)]
    assert pareto_front(points) == [False, True, False, False, True, False]


def test_no_points() -> None:
    assert pareto_front([]) == []
