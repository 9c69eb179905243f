"""What a step of an optimizer moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor


class Moved(NamedTuple):
    """What a step of an optimizer moves, or of several with the same options."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    state: Mapping[str, list[Tensor]]

    def by_rate(self, rates: Sequence[float]) -> Iterator[tuple[float, Moved]]:
        """Yield what has the same rate together, and that rate.

        Args:
            rates: the factor on the learning rate of each parameter; empty where all are 1.
        """
        if len(set(rates)) <= 1:
            yield (rates[0] if rates else 1.0), self
            return
        for rate in dict.fromkeys(rates):
            places = [i for i, own in enumerate(rates) if own == rate]
            yield (
                rate,
                Moved(
                    [self.parameters[i] for i in places],
                    [self.gradients[i] for i in places],
                    {name: [own[i] for i in places] for name, own in self.state.items()},
                ),
            )
