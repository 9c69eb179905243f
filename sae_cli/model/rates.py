"""Parameters whose learning rate is a share of that of the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import nn


class OwnRates(ABC):
    """A module of which some parameters are to learn more slowly, or faster."""

    @abstractmethod
    def rates(self) -> Iterable[tuple[nn.Parameter, float]]:
        """Give these parameters, each with the factor on its learning rate."""


def rates_of(model: nn.Module, parameters: Sequence[nn.Parameter]) -> list[float]:
    """Give the factor on the learning rate of each parameter: 1 unless a module says otherwise."""
    owners = [module for module in model.modules() if isinstance(module, OwnRates)]
    own = {id(parameter): rate for owner in owners for parameter, rate in owner.rates()}
    return [own.get(id(parameter), 1.0) for parameter in parameters]
