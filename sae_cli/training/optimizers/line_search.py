"""A line search: how far to go in a direction in which a function falls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

# The conditions of Wolfe with the constants that suit quasi-Newton directions (Nocedal and Wright
# 2006, chapter 3): the function falls by at least this share of what its slope promises, and the
# slope by at least this share of itself.
FALL, FLATTEN = 1e-4, 0.9
# A search ends after so many trials, with the best of them.
MOST_TRIALS = 20
# A length that is too short grows by this factor.
GROWTH = 4.0
# A trial between two others keeps this share of their distance from both.
MARGIN = 0.1


class Trial(NamedTuple):
    """The function at one length along the line.

    Attributes:
        slope: along the line.
        gradient: the whole of it.
        terms: whose sum the function is, as far as they are known.
    """

    length: float
    value: float
    slope: float
    gradient: Tensor
    terms: dict[str, Tensor]


def search(evaluate: Callable[[float], Trial], start: Trial, first: float) -> Trial:
    """Find a length that satisfies the strong conditions of Wolfe (Nocedal and Wright 2006,
    algorithms 3.5 and 3.6).

    Args:
        evaluate: gives the trial of a length.
        start: that of length 0; its slope is negative.
        first: the first length to try.

    Returns:
        the trial; where none of ``MOST_TRIALS`` satisfies them, the lowest that falls enough; the
        start, where none does.
    """
    # The low end falls enough and is the lowest so far; beyond the high end there is no need to go.
    low, high, length = start, None, first
    for _ in range(MOST_TRIALS):
        trial = evaluate(length)
        # A value that is not a number fails both comparisons.
        falls = trial.value <= start.value + FALL * length * start.slope
        if not (falls and trial.value < low.value):
            high = trial
        elif abs(trial.slope) <= -FLATTEN * start.slope:
            return trial
        else:
            end = math.inf if high is None else high.length
            if trial.slope * (end - low.length) >= 0.0:
                high = low
            low = trial
        length = GROWTH * low.length if high is None else _between(low, high)
    return low


def _between(low: Trial, high: Trial) -> float:
    """Give a length between two trials: the minimum of the cubic through both, or the middle."""
    width = high.length - low.length
    share = 0.5
    if math.isfinite(high.value) and math.isfinite(high.slope):
        share = min(max(_minimum(low, high, width), MARGIN), 1.0 - MARGIN)
    return low.length + share * width


def _minimum(low: Trial, high: Trial, width: float) -> float:
    """Give the share of the way at which the cubic with these values and slopes is lowest."""
    rise = (high.value - low.value) / width
    bend = low.slope + high.slope - 3.0 * rise
    squared = bend * bend - low.slope * high.slope
    if squared < 0.0:
        return 0.5
    root = math.copysign(math.sqrt(squared), width)
    below = high.slope - low.slope + 2.0 * root
    return 0.5 if below == 0.0 else 1.0 - (high.slope + root - bend) / below
