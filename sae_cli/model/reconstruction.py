"""Reconstruction losses: how far ``x_hat`` is from the target.

``reduction`` is the ``mean`` or the ``sum`` over the features of one example; examples are always
averaged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Annotated, Literal, final

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH
from sae_cli.core.registry import Registry
from sae_cli.core.shapes import REALS, UNIT, Interval
from sae_cli.model.autoencoder import AutoEncoder, Pass

RECONSTRUCTIONS: Registry[Reconstruction] = Registry("reconstruction")

Reduction = Literal["mean", "sum"]

Prefix = Annotated[float, Field(gt=0, le=MAX_WIDTH)]
"""Below 1 a share of the latents, from 1 on a number of latents."""


class Reconstruction(ABC):
    """A loss between a pass and its target.

    Args:
        reduction: of the features of one example.

    Attributes:
        targets: the range that targets must lie in.
        output_activations: the output activations it works with; empty means any.
    """

    targets: Interval = REALS
    output_activations: tuple[str, ...] = ()

    def __init__(self, *, reduction: Reduction) -> None:
        self.reduction = reduction

    @abstractmethod
    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        """The loss summed over every element of the batch."""

    def __call__(self, passed: Pass, target: Tensor) -> Tensor:
        """The scalar loss: ``reduction`` over features, mean over examples."""
        return self.elementwise_sum(passed, target) / self.divisor(target)

    def divisor(self, target: Tensor) -> int:
        """The number that the sum over all elements is divided by."""
        return target.numel() if self.reduction == "mean" else len(target)


@final
@RECONSTRUCTIONS.register("mse")
class MSE(Reconstruction):
    """``(x_hat - target)^2``."""

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        return F.mse_loss(passed.x_hat, target, reduction="sum")


@final
@RECONSTRUCTIONS.register("bce")
class BCE(Reconstruction):
    """``-(target log x_hat + (1 - target) log(1 - x_hat))``, computed from the logits.

    Grey targets have a positive floor, the entropy of the target itself.
    """

    targets = UNIT
    output_activations = ("sigmoid",)

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        if passed.logs is not None:
            return -passed.logs.likelihood(target).sum()
        return F.binary_cross_entropy_with_logits(passed.pre_x_hat, target, reduction="sum")


@final
@RECONSTRUCTIONS.register("nested")
class Nested(Reconstruction):
    """The mean, over prefixes of the latents, of the squared error of what each reconstructs.

    With ``m_1 < m_2 < ...`` the widths of the prefixes, the last of which is the whole code, that
    is the mean over i of ``|x - D[:, :m_i] codes[:m_i] - b|^2`` (Bussmann, Nabeshima, Karvonen and
    Nanda 2025, Learning multi-level features with Matryoshka sparse autoencoders).

    Args:
        prefixes: in increasing order, without the whole code.
    """

    output_activations = ("identity",)

    def __init__(self, *, reduction: Reduction, prefixes: list[Prefix]) -> None:
        super().__init__(reduction=reduction)
        for prefix in prefixes:
            if prefix >= 1 and not float(prefix).is_integer():
                raise ConfigError(
                    f"reconstruction.prefixes={prefixes}: {prefix:g} is neither a share of the "
                    "latents nor a number of them; give numbers below 1, or whole ones"
                )
        self.prefixes = prefixes
        self.widths: list[int] = []
        self._autoencoder: AutoEncoder | None = None

    def check(self, autoencoder: AutoEncoder) -> None:
        """Raise ConfigError unless the decoder is linear."""
        if autoencoder.linear_decoder() is None:
            raise ConfigError(
                "reconstruction=nested needs a decoder of one linear layer, whose columns are "
                "atoms, and this architecture has another one here; choose architecture=sae, or "
                "reconstruction=mse"
            )

    def for_network(self, autoencoder: AutoEncoder) -> Nested:
        """Make the same loss, of the codes of this network.

        Raises:
            ConfigError: its decoder is not linear, or it has too few latents.
        """
        self.check(autoencoder)
        made = Nested(reduction=self.reduction, prefixes=self.prefixes)
        n = autoencoder.n_latents
        widths = [max(1, int(n * one)) if one < 1 else int(one) for one in self.prefixes]
        if any(a >= b for a, b in pairwise([*widths, n])):
            raise ConfigError(
                f"reconstruction.prefixes={self.prefixes} are prefixes of {widths} of {n} latents, "
                "which do not increase to less than all of them; give others, or more latents"
            )
        made.widths = [*widths, n]
        made._autoencoder = autoencoder
        return made

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        assert self._autoencoder is not None
        linear = self._autoencoder.linear_decoder()
        assert linear is not None
        weight, bias = linear
        flat, begin = target.flatten(1), 0
        x_hat = torch.zeros_like(flat) if bias is None else bias.expand_as(flat)
        errors = []
        for end in self.widths[:-1]:
            x_hat = x_hat + F.linear(passed.codes[:, begin:end], weight[:, begin:end])
            errors.append((x_hat - flat).square().sum())
            begin = end
        errors.append((passed.x_hat - target).square().sum())
        return torch.stack(errors).sum() / len(errors)
