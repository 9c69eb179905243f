"""From stored values to what a model sees: axes, divisor, centre, scale, unit norm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
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
        unit_norm: whether each example is scaled to an L2 norm of 1 (zeros stay zeros), after all
            else.
        centre: float32 ``(*input_shape)``, subtracted once values are divided; None for none.
        scale: what is left is divided by this.
    """

    axes: Axes | None = None
    divisor: float = 1.0
    unit_norm: bool = False
    # Tensors have no single truth value to compare by.
    centre: Tensor | None = field(default=None, compare=False)
    scale: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether values are neither divided, centred nor scaled."""
        return self.divisor == 1.0 and self.centre is None and self.scale == 1.0

    def shape_of(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of one example as a model sees it, from that of a stored one."""
        return arranged_shape(self.axes, stored)

    def apply_(self, stored: Tensor) -> Tensor:
        """Make of ``(batch, *stored shape)``, of any number type, what a model sees, as float32.

        Values that are float32 already may be changed in place.
        """
        values = arrange(self.axes, stored).to(torch.float32)
        values = values if self.divisor == 1.0 else values.div_(self.divisor)
        values = values if self.centre is None else values.sub_(self.centre)
        values = values if self.scale == 1.0 else values.div_(self.scale)
        return unit_norm(values) if self.unit_norm else values

    def with_centre_back(self, seen: Tensor) -> Tensor:
        """Undo scale and centre of what a model sees, ``(batch, *input_shape)``."""
        values = seen if self.scale == 1.0 else seen * self.scale
        return values if self.centre is None else values + self.centre

    def to(self, device: torch.device) -> Inputs:
        """A copy for values on ``device``."""
        return self if self.centre is None else replace(self, centre=self.centre.to(device))


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
        inputs = self.inputs
        ends = {"low": self.interval.low, "high": self.interval.high}
        known = {name: end if math.isfinite(end) else None for name, end in ends.items()}
        made = {"axes": inputs.axes, "divisor": inputs.divisor, "unit_norm": inputs.unit_norm}
        # Files of runs that neither centre nor scale stay as earlier versions wrote them.
        centred = {} if inputs.centre is None else {"centred": True}
        scaled = {} if inputs.scale == 1.0 else {"scale": inputs.scale}
        leading = {} if self.leading is None else {"leading": list(self.leading)}
        return made | centred | scaled | {"integers": self.integers} | known | leading

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are saved beside those of the network, by name."""
        return {} if self.inputs.centre is None else {CENTRE: self.inputs.centre}


# The name of the centre among the tensors of a model file.
CENTRE = "dataset.centre"
AS_STORED = Inputs()
# Images of bytes: 0..255 becomes 0..1.
BYTES = Inputs(divisor=255.0)


def unit_norm(x: Tensor) -> Tensor:
    """Divide each example of ``x`` ``(batch, ...)`` by its L2 norm; zeros stay zeros."""
    return F.normalize(x.flatten(1), dim=1).view_as(x)
