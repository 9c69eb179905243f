"""Differences between two records, key by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

ABSENT = "nothing"


class Difference(NamedTuple):
    """A dotted key, with its value then and now."""

    key: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.then} then, {self.now} now"


def alike(found: Iterable[Difference]) -> list[str]:
    """Word differences, on one line those that lie beside each other and have the same values."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for key, then, now in found:
        parent, _, name = key.rpartition(".")
        groups.setdefault((parent, str(then), str(now)), []).append(name)
    return [
        f"{f'{parent}.' if parent else ''}{', '.join(names)}: {then} then, {now} now"
        for (parent, then, now), names in groups.items()
    ]


def diff(then: Any, now: Any, key: str = "") -> Iterator[Difference]:
    """Yield the differences between two values; mappings are compared key by key."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*then, *now]):
            inner = f"{key}.{name}" if key else str(name)
            yield from diff(then.get(name, ABSENT), now.get(name, ABSENT), inner)
    elif type(then) is not type(now) or then != now:
        yield Difference(key, then, now)
