"""From stored values to what a model sees: the order of axes, the divisor, unit norm."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.shapes import Interval
from sae_cli.datasets.axes import Axes, arrange, arranged_shape


@dataclass(frozen=True)
class Inputs:
    """What is done to stored values before a model sees them, in this order.

    Attributes:
        axes: of the stored values; None and ``as_stored`` leave them as they are.
        divisor: values are divided by this.
        unit_norm: whether each example is scaled to an L2 norm of 1 (zeros stay zeros).
    """

    axes: Axes | None = None
    divisor: float = 1.0
    unit_norm: bool = False

    def shape_of(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of one example as a model sees it, from that of a stored one."""
        return arranged_shape(self.axes, stored)

    def apply_(self, stored: Tensor) -> Tensor:
        """Make of ``(batch, *stored shape)``, of any number type, what a model sees, as float32.

        Values that are float32 already may be changed in place.
        """
        values = arrange(self.axes, stored).to(torch.float32)
        values = values if self.divisor == 1.0 else values.div_(self.divisor)
        return unit_norm(values) if self.unit_norm else values


@dataclass(frozen=True)
class DataRecord:
    """How the data of a run were made, as its model file records it.

    Attributes:
        inputs: makes of stored values what the model sees.
        integers: whether the stored values are integers; None where an earlier version has not
            recorded it.
        interval: the range of what the model sees.
        leading: the sizes of the axes of the array that count examples, where there are several:
            those of example ``i`` are ``numpy.unravel_index(i, leading)``, a text and a token.
    """

    inputs: Inputs
    integers: bool | None
    interval: Interval
    leading: tuple[int, ...] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give plain values; an end of the range that is not known is None."""
        ends = {"low": self.interval.low, "high": self.interval.high}
        known = {name: end if math.isfinite(end) else None for name, end in ends.items()}
        leading = {} if self.leading is None else {"leading": list(self.leading)}
        return asdict(self.inputs) | {"integers": self.integers} | known | leading


AS_STORED = Inputs()
# Images of bytes: 0..255 becomes 0..1.
BYTES = Inputs(divisor=255.0)


def unit_norm(x: Tensor) -> Tensor:
    """Divide each example of ``x`` ``(batch, ...)`` by its L2 norm; zeros stay zeros."""
    return F.normalize(x.flatten(1), dim=1).view_as(x)
