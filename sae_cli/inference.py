"""stub"""

from __future__ import annotations

from torch import Tensor

from sae_cli.penalties import Penalty
from sae_cli.registry import Registry


class Inference:
    prediction_weight: float

    def __call__(
        self, x: Tensor, dictionary: Tensor, start: Tensor, penalty: Penalty
    ) -> Tensor: ...


INFERENCES: Registry[Inference | None] = Registry("inference")


@INFERENCES.register("none")
def none() -> None:
    """No inference."""
