"""Penalties on codes, which make an auto-encoder sparse.

Every penalty is a function of a **mean over examples**: ``per_example`` gives the quantity that is
averaged, ``of_mean`` turns the average into the penalty. Training averages over the mini-batch;
evaluation averages over the whole split, so that its value does not depend on a batch size.
Penalties sum over latents. ``weight`` multiplies the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import NonNegative
from sae_cli.core.ranks.together import mean_of_batch
from sae_cli.core.registry import Registry
from sae_cli.core.shapes import REALS, Interval

PENALTIES: Registry[Penalty | None] = Registry("penalty")


class Penalty(nn.Module, ABC):
    """A term of the loss that looks at codes alone.

    ``roles`` and ``proximal`` hold what only some penalties are or do.

    Args:
        weight: multiplies the penalty in the loss.

    Attributes:
        of: its argument.
        requires: the range that codes must lie in for the penalty to mean something.
        reason: why.
    """

    of: Literal["codes", "pre_codes"] = "codes"
    requires: Interval = REALS
    reason: str = ""

    def __init__(self, *, weight: NonNegative) -> None:
        super().__init__()
        self.weight: float = weight

    @abstractmethod
    def per_example(self, codes: Tensor) -> Tensor:
        """What is averaged over examples, ``(batch, ...)``, from codes ``(batch, n_latents)``."""

    @abstractmethod
    def of_mean(self, mean: Tensor) -> Tensor:
        """The unweighted penalty (a scalar) from the mean of ``per_example``."""

    def forward(self, codes: Tensor) -> Tensor:
        """The unweighted penalty of one batch of codes."""
        return self.of_mean(self.mean_of(codes))

    def mean_of(self, codes: Tensor) -> Tensor:
        """The mean of ``per_example`` over a training batch.

        Where the rows of a batch are shared by several processes it is that of all rows, unless the
        penalty is a mean itself: then the mean of all is that of the processes.

        Raises:
            ConfigError: there is not one for each example.
        """
        found = self.per_example(codes)
        if found.shape[:1] != codes.shape[:1]:
            raise ConfigError(
                f"per_example of {type(self).__name__} gives values of shape {(*found.shape,)} for "
                f"{len(codes)} examples; it must give one or a row for each: ({len(codes)}, ...)"
            )
        mean = found.mean(0)
        return mean if isinstance(self, ExamplePenalty) else mean_of_batch(mean, len(codes))


class ExamplePenalty(Penalty, ABC):
    """A penalty that is the mean of one of each example: ``per_example`` is ``(batch,)``."""

    def of_mean(self, mean: Tensor) -> Tensor:
        return mean
