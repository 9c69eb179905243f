"""Spaced values of a sweep, ``logspace(START,END,N)`` and ``linspace(START,END,N)``.

Hydra's grammar has neither, so they become the lists of values that it reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from sae_cli.config.texts import TEXTS
from sae_cli.core.errors import ConfigError

SPACED = re.compile(r"(logspace|linspace)\((.*)\)")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# A sweep of more jobs is a slip of the finger.
MOST = 10_000
# So many digits are exact enough for a sweep, and can be read in a table.
DIGITS = 6
# A float holds every whole number below.
MOST_WHOLE = 2**53


def spell_out(word: str, groups: Collection[str]) -> str:
    """Give an override with its spaced values spelled out; others stay as they are.

    Both ends are among the values, which have six significant digits.

    Args:
        word: ``KEY=logspace(1e-4,1,9)`` and the like.
        groups: names of groups, whose choices are names of pages.

    Raises:
        ConfigError: not two ends and a number of values, or ends that cannot be spaced so.
    """
    key, _, value = word.partition("=")
    found = SPACED.fullmatch(value)
    if found is None or key.lstrip("+") in {*TEXTS, *groups}:
        return word
    name, (start, end, n) = found[1], _arguments(word, found[1], found[2])
    ends = float(start), float(end)
    if name == "logspace" and min(ends) <= 0:
        raise ConfigError(f"{word}: both ends of a logspace must be above 0; give linspace instead")
    if n > MOST:
        raise ConfigError(f"{word}: a sweep takes at most {MOST} values; give fewer")
    between = _geometric if name == "logspace" else _linear
    inner = [_text(between(*ends, i / (n - 1))) for i in range(1, n - 1)]
    return f"{key}={','.join([start, *inner, end])}"


def _arguments(word: str, name: str, text: str) -> tuple[str, str, int]:
    """Give the ends, as they are written, and the number of values."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 3 and all(map(NUMBER.fullmatch, parts)) and re.fullmatch(r"\d+", parts[2]):
        n = int(parts[2])
        if all(math.isfinite(float(part)) for part in parts) and n >= 2:
            return parts[0], parts[1], n
    raise ConfigError(
        f"{word}: write {name}(START,END,N), two numbers and how many values there are from one to "
        "the other, at least 2; both ends are among them"
    )


def _text(value: float) -> str:
    """Write a value; a whole number in full, because some options take no other."""
    whole = round(value)
    if math.isclose(value, whole, rel_tol=1e-12) and abs(whole) < MOST_WHOLE:
        return str(whole)
    return f"{value:.{DIGITS}g}"


def _geometric(start: float, end: float, share: float) -> float:
    return float(start ** (1 - share) * end**share)


def _linear(start: float, end: float, share: float) -> float:
    return start * (1 - share) + end * share
