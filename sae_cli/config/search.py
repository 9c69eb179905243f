"""A search: what it varies, what is to be best, and the runs that it makes of values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pydantic

from sae_cli.config.composed import Composed
from sae_cli.config.schema import OF_HEADS, RunConfig, check_metric
from sae_cli.config.search_space import Choices, Dimension, Numbers, SearchOptions
from sae_cli.config.search_words import OBJECTIVE, SearchWords
from sae_cli.config.settings import FREE, stands_in
from sae_cli.core.errors import ConfigError
from sae_cli.core.faults import in_short
from sae_cli.core.registry import STRICT
from sae_cli.training.metrics import metric_names

# The overrides of a run, and what they come to.
Base = tuple[list[str], RunConfig]


class _Kept(pydantic.BaseModel):
    """A search as ``sweep.yaml`` holds it."""

    model_config = STRICT

    options: SearchOptions
    objectives: list[str] = pydantic.Field(min_length=1)
    dimensions: list[Numbers | Choices] = pydantic.Field(min_length=1)


@dataclass(frozen=True)
class Search:
    """A search.

    Attributes:
        objectives: the metrics that are to be best.
        bases: the first run of each combination of the pages that are searched.
    """

    options: SearchOptions
    objectives: list[str]
    dimensions: list[Dimension]
    bases: list[Base]

    @property
    def seed(self) -> int:
        """The seed from which all that is drawn comes."""
        return self.bases[0][1].settings.seed

    def job(self, texts: Mapping[str, str]) -> Base:
        """Give the overrides and the configuration of a run.

        Args:
            texts: key -> value of every dimension.

        Raises:
            ConfigError: the configuration is not right.
        """
        number = 0
        for one in self._pages:
            number = number * len(one.texts) + one.texts.index(texts[one.key])
        words, config = self.bases[number]
        keyed = [(word.partition("=")[0], word) for word in words]
        overrides = [f"{key}={texts[key]}" if key in texts else word for key, word in keyed]
        others = [one for one in self.dimensions if one not in self._pages]
        return overrides, config.changed({one.key: one.value(texts[one.key]) for one in others})

    def texts(self, overrides: Sequence[str]) -> dict[str, str]:
        """Read the value of every dimension from the overrides of a run.

        Raises:
            ConfigError: they are not those of a run of this search.
        """
        given = dict(word.partition("=")[::2] for word in overrides)
        try:
            for one in self.dimensions:
                one.value(given[one.key])
        except (KeyError, ValueError) as error:
            raise ConfigError(f"{' '.join(overrides)} is not of the search ({error})") from None
        return {one.key: given[one.key] for one in self.dimensions}

    @property
    def _pages(self) -> list[Choices]:
        return [one for one in self.dimensions if isinstance(one, Choices) and one.values is None]

    def as_dict(self) -> dict[str, Any]:
        """Give plain values, all but the bases."""
        kept = _Kept(options=self.options, objectives=self.objectives, dimensions=self.dimensions)
        return kept.model_dump()


def read_search(content: Any, bases: list[Base]) -> Search:
    """Read what ``as_dict`` gave, from a file that a stranger may have sent.

    Raises:
        ValueError: it is not a search, or not one of these bases.
        ConfigError: its metrics are not.
    """
    try:
        kept = _Kept.model_validate(content)
    except pydantic.ValidationError as error:
        raise ValueError(in_short(error)) from None
    search = Search(kept.options, kept.objectives, list(kept.dimensions), bases)
    if len(bases) != math.prod(len(one.texts) for one in search._pages):
        raise ValueError("its bases are not as many as its pages")
    if any(stands_in(one.key, FREE) for one in search.dimensions):
        raise ValueError("it varies a setting that changes no result")
    _check_objectives(search)
    return search


def settle(words: SearchWords, jobs: Sequence[Composed], configs: Sequence[RunConfig]) -> Search:
    """Make a search of the runs that were composed to check it.

    Raises:
        ConfigError: an objective that is not a metric of every run, or a setting from which
            others follow, so that it cannot be varied by itself.
    """
    made = list(zip(words.probes, jobs, configs, strict=True))
    bases = [(job.overrides, config) for probe, job, config in made if not probe.changes]
    for probe, _, config in made:
        if bases[probe.base][1].changed(probe.changes) != config:
            raise ConfigError(
                f"other settings follow from {' and '.join(probe.changes)}, so that a search "
                "cannot vary it alone; write their values instead of references to it"
            )
    search = Search(words.options, words.objectives, words.dimensions, bases)
    _check_objectives(search)
    dimensions = [
        one.model_copy(update={"whole": True}) if _takes_whole(one, bases) else one
        for one in search.dimensions
    ]
    return replace(search, dimensions=dimensions)


def _takes_whole(one: Dimension, bases: Sequence[Base]) -> bool:
    """Tell whether a setting with whole ends takes nothing between whole numbers."""
    if not isinstance(one, Numbers) or one.step is not None:
        return isinstance(one, Numbers) and one.whole
    if not (one.low.is_integer() and one.high.is_integer()):
        return False
    try:
        for _, config in bases:
            config.changed({one.key: one.low + 0.5})
    except ConfigError:
        return True
    return False


def _check_objectives(search: Search) -> None:
    with_head = all(config.parts["head"]["name"] != "none" for _, config in search.bases)
    of_all = [n for n in metric_names() if with_head or n.rpartition("/")[2] not in OF_HEADS]
    for name in search.objectives:
        check_metric(OBJECTIVE, name, of_all)
        if name not in of_all:
            raise ConfigError(
                f"{OBJECTIVE}={name} needs a classifier, and head=none is not one; choose "
                "head=classifier, or another metric such as val/fvu"
            )
