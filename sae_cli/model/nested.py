"""The reconstruction of nested codes: each prefix of the latents reconstructs the target alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.reconstruction import RECONSTRUCTIONS, Reconstruction, Reduction

Prefix = Annotated[float, Field(gt=0, le=MAX_WIDTH)]
"""Below 1 a share of the latents, from 1 on a number of latents."""


@final
@RECONSTRUCTIONS.register("nested")
class Nested(Reconstruction):
    """The mean, over prefixes of the latents, of the squared error of what each reconstructs.

    With ``m_1 < m_2 < ...`` the widths of the prefixes, the last of which is the whole code, that is
    the mean over i of ``|x - D[:, :m_i] codes[:m_i] - b|^2`` (Bussmann, Nabeshima, Karvonen and
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
            x_hat = x_hat + nn.functional.linear(passed.codes[:, begin:end], weight[:, begin:end])
            errors.append((x_hat - flat).square().sum())
            begin = end
        errors.append((passed.x_hat - target).square().sum())
        return torch.stack(errors).sum() / len(errors)
