"""What a search varies, read from the words of a command line, and the runs that check it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    OverrideType,
    RangeSweep,
    Sweep,
)

from sae_cli.config.search_space import ASKING, Choices, Dimension, Numbers, number_of
from sae_cli.config.settings import FREE, stands_in
from sae_cli.core.errors import ConfigError

# Each combination of chosen pages is composed before the search begins.
MOST_COMBINATIONS = 64
VARY = (
    "give at least one setting an interval, such as penalty.weight=interval(1e-4,1), on a "
    "logarithmic scale 'penalty.weight=tag(log,interval(1e-4,1))', or a list A,B,C"
)


@dataclass(frozen=True)
class Probe:
    """A run that is composed to check a search before it begins.

    Attributes:
        base: the number of its combination of pages.
        changes: the settings in which it differs from the first run of that combination.
    """

    base: int
    changes: dict[str, Any]


def read_dimensions(
    own: Sequence[Override], groups: Collection[str], parse: Callable[[str], Override]
) -> list[Dimension]:
    """Give what a search varies.

    Args:
        groups: names of groups, whose choices are names of pages.
        parse: reads one override.

    Raises:
        ConfigError: nothing varies, or something that cannot.
    """
    dimensions = [_dimension(one, groups, parse) for one in own if one.is_sweep_override()]
    if not dimensions:
        raise ConfigError(f"{ASKING} has nothing to search; {VARY}")
    given = [override.key_or_group for override in own]
    for one in dimensions:
        if given.count(one.key) > 1:
            raise ConfigError(f"{one.key} is given twice; give it once")
    return dimensions


def _dimension(
    override: Override, groups: Collection[str], parse: Callable[[str], Override]
) -> Dimension:
    key, line, value = override.key_or_group, override.input_line, override.value()
    if override.type is not OverrideType.CHANGE or override.package is not None:
        raise ConfigError(f"{line}: a search varies settings by their names; write {key}=...")
    if stands_in(key, FREE):
        raise ConfigError(f"{line}: {key} changes no result, so a search over it finds nothing")
    tags = value.tags if isinstance(value, Sweep) else set()
    if tags and (tags != {"log"} or not isinstance(value, IntervalSweep)):
        raise ConfigError(f"{line}: the only tag is log, of an interval: tag(log,interval(1e-4,1))")
    if isinstance(value, IntervalSweep):
        return _interval(key, str(line), value)
    texts = list(override.sweep_string_iterator())
    if len(set(texts)) < len(texts) or len(texts) < 2:
        raise ConfigError(f"{line}: a search chooses among at least two different values")
    if isinstance(value, RangeSweep):
        numbers = sorted(map(float, texts))
        whole = isinstance(value.range(), range)
        step = abs(float(value.step))
        return Numbers(key=key, low=numbers[0], high=numbers[-1], step=step, whole=whole)
    if key in groups:
        return Choices(key=key, texts=texts, values=None)
    return Choices(key=key, texts=texts, values=[parse(f"{key}={t}").value() for t in texts])


def _interval(key: str, line: str, value: IntervalSweep) -> Numbers:
    # Hydra gives both ends.
    low, high = float(value.start or 0.0), float(value.end or 0.0)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{line}: write interval(LOW,HIGH), two numbers, the lower one first")
    log = "log" in value.tags
    if log and low <= 0:
        raise ConfigError(f"{line}: on a logarithmic scale the lower end must be above 0")
    return Numbers(key=key, low=low, high=high, log=log)


def probes(
    own: Sequence[Override], dimensions: Sequence[Dimension]
) -> tuple[list[list[str]], list[Probe]]:
    """Give the words of the runs to compose, and what each is.

    For each combination of pages that is its first run, and then one for each other value of each
    list and for the ends of each interval.

    Raises:
        ConfigError: there are too many combinations.
    """
    pages = [one for one in dimensions if isinstance(one, Choices) and one.values is None]
    n = math.prod(len(one.texts) for one in pages)
    if n > MOST_COMBINATIONS:
        raise ConfigError(
            f"{n} combinations of {', '.join(one.key for one in pages)}: a search takes at most "
            f"{MOST_COMBINATIONS}; give fewer"
        )
    others = {one.key: _tried(one) for one in dimensions if one not in pages}
    first = {key: texts[0] for key, (texts, _) in others.items()}
    jobs, found = [], []
    for base, chosen in enumerate(product(*(one.texts for one in pages))):
        names = dict(zip((one.key for one in pages), chosen, strict=True))
        jobs.append(list(_words(own, names | first)))
        found.append(Probe(base, {}))
        for key, (texts, values) in others.items():
            for text, value in zip(texts[1:], values[1:], strict=True):
                jobs.append(list(_words(own, names | first | {key: text})))
                found.append(Probe(base, {key: value}))
    return jobs, found


def _tried(one: Dimension) -> tuple[list[str], list[Any]]:
    """Give the texts and the values of a setting that are tried beforehand."""
    if isinstance(one, Numbers):
        ends = one.ends()
        return ends, [number_of(end) for end in ends]
    return one.texts, one.values or []


def _words(own: Sequence[Override], texts: Mapping[str, str]) -> Iterator[str]:
    """Give the words of a run as those of a sweep's job are given."""
    for override in own:
        key = override.get_key_element()
        given = texts.get(override.key_or_group)
        if override.is_delete():
            yield str(override.input_line)
        else:
            yield f"{key}={override.get_value_element_as_str() if given is None else given}"
