"""Differences between two records, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ABSENT = "nothing"


class Difference(NamedTuple):
    """A dotted key, with its value then and now."""

    key: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.then} then, {self.now} now"


def diff(then: Any, now: Any, key: str = "") -> Iterator[Difference]:
    """Yield the differences between two values; mappings are compared key by key."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*then, *now]):
            inner = f"{key}.{name}" if key else str(name)
            yield from diff(then.get(name, ABSENT), now.get(name, ABSENT), inner)
    elif type(then) is not type(now) or then != now:
        yield Difference(key, then, now)
