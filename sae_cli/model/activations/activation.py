"""The base of activations, which turn pre-codes into codes of a known range.

A penalty may need codes in a range (the KL needs (0, 1)). Comparing the two ranges tells whether
they go together before any data is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sae_cli.core.registry import Registry
from sae_cli.core.shapes import Interval

ACTIVATIONS: Registry[Activation] = Registry("activation")


class Activation(nn.Module, ABC):
    """A map from pre-codes ``(batch, n)`` to codes ``(batch, n)``.

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
