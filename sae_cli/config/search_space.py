"""What a search varies and how: plain values, which ``sweep.yaml`` keeps."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import pydantic

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, Natural
from sae_cli.core.registry import STRICT

OPTUNA = "optuna"
ASKING = f"hydra/sweeper={OPTUNA}"
OLDEST = 4
# Values have so many significant digits, so that names of folders and tables can be read.
DIGITS = 6


class SearchOptions(pydantic.BaseModel):
    """The options of a search, ``hydra.sweeper.OPTION`` on the command line.

    Attributes:
        n_trials: how many runs it makes in all.
        n_startup_trials: so many of them are drawn at random, and none is pruned before so many
            have ended.
        n_jobs: how many are chosen at a time, so that a launcher can run them side by side.
        sampler: ``tpe`` chooses values near the best so far, ``random`` does not look at them.
        pruner: ``median`` stops a run that is worse than the median of those before at its epoch.
    """

    model_config = STRICT

    n_trials: Count = 20
    n_startup_trials: Natural = 10
    n_jobs: Count = 1
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["none", "median"] = "none"


class Numbers(pydantic.BaseModel):
    """A setting that takes any number from ``low`` to ``high``, or those that ``step`` reaches.

    Attributes:
        key: dotted, as on the command line; so in ``Choices``.
        log: whether the logarithm is what is uniform.
        whole: whether it takes whole numbers only.
    """

    model_config = STRICT

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def text(self, value: float) -> str:
        """Write a value as an override has it, within the ends."""
        if self.whole:
            return str(round(value))
        return _short(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    def value(self, text: str) -> float | int:
        """Read a value.

        Raises:
            ValueError: it is not a number, or lies outside.
        """
        value = int(text) if self.whole else float(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.key}={text} is outside of the search")
        return value

    def ends(self) -> list[str]:
        """Give the lowest and the highest value."""
        return [_short(self.low), _short(self.high)]


class Choices(pydantic.BaseModel):
    """A setting that takes one of several values.

    Attributes:
        texts: of the values, as overrides have them.
        values: the values; None where the texts are the names of pages.
    """

    model_config = STRICT

    key: str
    texts: list[str]
    values: list[Any] | None

    def value(self, text: str) -> Any:
        """Give the value of a text, or for a page its name.

        Raises:
            ValueError: it is not one of them.
        """
        number = self.texts.index(text)
        return text if self.values is None else self.values[number]


Dimension = Numbers | Choices


def number_of(text: str) -> float | int:
    """Read a number; one that is written without a point is whole, which every option takes."""
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _short(value: float) -> str:
    """Write a number exactly, a whole one without a point."""
    return str(int(value)) if math.floor(value) == value and abs(value) < 2**53 else repr(value)


def check_installed() -> None:
    """Raise ConfigError unless Optuna is there; it is not imported."""
    how = f"pip install 'sae-train[{OPTUNA}]'"
    try:
        found = version(OPTUNA)
    except PackageNotFoundError:
        raise ConfigError(f"{ASKING} needs Optuna: {how}") from None
    if int(found.partition(".")[0]) < OLDEST:
        raise ConfigError(f"{ASKING} needs Optuna {OLDEST} or newer, and {found} is here: {how}")
