"""Further terms of the loss, and what watches training beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from sae_cli.model.autoencoder import Pass


class FurtherTerm(ABC):
    """A term of the loss beside reconstruction, penalty and the like.

    Attributes:
        weight: multiplies it.
        in_training_only: whether evaluation leaves it out.
    """

    weight: float
    in_training_only: bool

    @abstractmethod
    def mean(self, passed: Pass, target: Tensor) -> Tensor:
        """The unweighted term of a batch, a scalar."""


class Watcher(ABC):
    """A part of an objective that watches the passes of training steps."""

    @abstractmethod
    def watch_(self, passed: Pass) -> None:
        """See the pass of a step, whose gradients have been taken; nothing is read back from the
        device."""

    @abstractmethod
    def report_(self) -> dict[str, float]:
        """Give figures of the epoch that has ended, by name, and begin those of the next."""
