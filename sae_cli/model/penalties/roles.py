"""Roles that only some penalties have, each used by one part of the program."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.penalties.penalty import Penalty


class Shaped(ABC):
    """A penalty that depends on the shape in which codes lie."""

    @abstractmethod
    def for_codes(self, shape: tuple[int, ...]) -> Penalty:
        """The penalty of codes that lie in this shape.

        Raises:
            ConfigError: its options do not fit this shape.
        """


def for_codes(penalty: Penalty | None, shape: tuple[int, ...]) -> Penalty | None:
    """The penalty of codes that lie in this shape: itself unless it is ``Shaped``."""
    return penalty.for_codes(shape) if isinstance(penalty, Shaped) else penalty


class OfNetwork(ABC):
    """A penalty that depends on more of a network than its codes: its decoder, or its activation.

    What it needs it asks of the network at each step, because both are trained.
    """

    @abstractmethod
    def for_network(self, autoencoder: AutoEncoder) -> Penalty:
        """The same penalty, of the codes of this network.

        Raises:
            ConfigError: the network lacks what the penalty needs.
        """


def for_network(penalty: Penalty | None, autoencoder: AutoEncoder) -> Penalty | None:
    """The penalty of the codes of this network: itself unless it is ``Shaped`` or ``OfNetwork``."""
    if isinstance(penalty, OfNetwork):
        return penalty.for_network(autoencoder)
    return for_codes(penalty, autoencoder.code_shape)


class OfEachLatent:
    """A penalty that is a sum over latents of what each of them has by itself, so that processes
    that hold some each can sum theirs."""


class OfSamples:
    """A penalty of the distributions that pre-codes describe, from which codes are drawn."""


class WarmUp(ABC):
    """A penalty whose weight grows in training; evaluation always uses the full weight."""

    @abstractmethod
    def growth(self) -> Tensor | None:
        """The share of the weight reached so far (a scalar up to 1), or None for all of it."""


class Tuned(ABC):
    """A penalty whose weight may be tuned while training."""

    @abstractmethod
    def factor(self) -> Tensor | None:
        """What multiplies its weight now (a scalar), or None for nothing."""


class Adjusted(ABC):
    """A penalty that changes after each step of training."""

    @abstractmethod
    def after_step_(self) -> None:
        """Adjust the penalty for the next step."""


class OnSheet(ABC):
    """A penalty of neighbours on a sheet of latents.

    Attributes:
        sheet: how many latents lie along each axis.
        wrap: whether each axis is a ring.
    """

    sheet: tuple[int, ...]
    wrap: bool


class InTrees(ABC):
    """A penalty of latents that are the nodes of trees."""

    @property
    @abstractmethod
    def parents(self) -> Tensor:
        """``(n_latents,)`` int64; -1 for a root."""
