"""The base of activations, which turn pre-codes into codes of a known range.

A penalty may need codes in a range (the KL needs (0, 1)). Comparing the two ranges tells whether
they go together before any data is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from sae_cli.core.registry import Registry
from sae_cli.core.shapes import Interval

ACTIVATIONS: Registry[Activation] = Registry("activation")


class Activation(nn.Module, ABC):
    """A map from pre-codes ``(batch, n)`` to codes ``(batch, n)``.

    A call gives the codes of use: those of an example depend on no other example.

    Attributes:
        name: the registered name.
        interval: the range that codes lie in.
        active_above: a code counts as active when its magnitude exceeds this (for L0 and dead
            latents): 0 where codes can be exactly zero, a stated threshold where they cannot.
        pre_codes_per_latent: how many numbers make one code; pre-codes are
            ``(batch, pre_codes_per_latent * n)``.
    """

    name: str
    interval: Interval
    active_above: float
    pre_codes_per_latent: int = 1

    @property
    def samples(self) -> bool:
        """Whether codes are drawn, in training, from a distribution that pre-codes describe."""
        return self.pre_codes_per_latent > 1

    @abstractmethod
    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        """Codes ``(batch, n)``.

        Args:
            noise: ``(batch, n)``, standard normal, where codes are to be drawn.
        """

    def in_training(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        """Codes ``(batch, n)`` of a training step, by default those of use.

        They may depend on the whole batch.
        """
        codes: Tensor = self(pre_codes, noise)
        return codes

    def fit_to_(self, widths: Sequence[int]) -> None:
        """Make what depends on the number of latents, when a network has been built.

        Args:
            widths: of the whole network and of each of its layers whose codes this makes.

        Raises:
            ConfigError: the options do not fit so many latents.
        """


class Learning(ABC):
    """An activation that learns from the codes of training steps, without a gradient."""

    @abstractmethod
    def learn_(self, codes: Tensor) -> None:
        """Learn from the codes ``(batch, n)`` of a step; nothing is read back from the device."""
