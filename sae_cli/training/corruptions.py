"""Corruptions: noise on the input while training; the target stays clean (Vincent et al. 2008).

A corruption takes ``x`` ``(batch, ...)`` and a generator on the same device and returns a corrupted
copy, drawn anew at each step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Generator, Tensor

from sae_cli.core.options import Fraction, NonNegative
from sae_cli.core.registry import Registry
from sae_cli.core.shapes import REALS, UNIT, Interval

CORRUPTIONS: Registry[Corruption | None] = Registry("corruption")


class Corruption(ABC):
    """Noise on the input of a training step.

    Attributes:
        requires: the range that inputs must lie in.
        amount: the option that says how much is corrupted, which ``schedule.layer_corruptions``
            gives anew for each layer; empty where there is no such option.
    """

    requires: Interval = REALS
    amount: str = ""

    @abstractmethod
    def __call__(self, x: Tensor, generator: Generator) -> Tensor: ...


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)


@CORRUPTIONS.register("none")
def none() -> None:
    """No corruption."""


@final
@CORRUPTIONS.register("gaussian")
class Gaussian(Corruption):
    """Noise ``std * standard normal`` added to the input, clipped to [0, 1] if ``clip``."""

    amount = "std"

    def __init__(self, *, std: NonNegative, clip: bool) -> None:
        self.std = std
        self.clip = clip
        if clip:
            self.requires = UNIT

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        noisy = x + self.std * noise
        return noisy.clamp(0.0, 1.0) if self.clip else noisy


@final
@CORRUPTIONS.register("masking")
class Masking(Corruption):
    """Zeros in place of a random ``fraction`` of the values."""

    amount = "fraction"

    def __init__(self, *, fraction: Fraction) -> None:
        self.fraction = fraction

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return x * (_uniform(x, generator) >= self.fraction)


@final
@CORRUPTIONS.register("dropout")
class Dropout(Corruption):
    """Masking that scales the kept values by 1 / (1 - fraction), which keeps the mean."""

    amount = "fraction"

    def __init__(self, *, fraction: Fraction) -> None:
        self.fraction = fraction

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        return x * (_uniform(x, generator) >= self.fraction) / (1.0 - self.fraction)


@final
@CORRUPTIONS.register("salt_and_pepper")
class SaltAndPepper(Corruption):
    """Zeros and ones, equally likely, in place of a random ``fraction`` of the values."""

    requires = UNIT
    amount = "fraction"

    def __init__(self, *, fraction: Fraction) -> None:
        self.fraction = fraction

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        u = _uniform(x, generator)
        peppered = torch.where(u < self.fraction / 2, 0.0, x)
        return torch.where(u >= 1.0 - self.fraction / 2, 1.0, peppered)
