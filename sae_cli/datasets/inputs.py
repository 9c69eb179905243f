"""From stored values to what a model sees: the order of axes, the divisor, unit norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

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


AS_STORED = Inputs()
# Images of bytes: 0..255 becomes 0..1.
BYTES = Inputs(divisor=255.0)


def unit_norm(x: Tensor) -> Tensor:
    """Divide each example of ``x`` ``(batch, ...)`` by its L2 norm; zeros stay zeros."""
    return F.normalize(x.flatten(1), dim=1).view_as(x)
