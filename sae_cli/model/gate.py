"""The further term of gated sparse auto-encoders."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.further import FurtherTerm
from sae_cli.model.reconstruction import Reconstruction


@final
class GateReconstruction(nn.Module, FurtherTerm):
    """The reconstruction loss of ``D ReLU(gates) + b`` where D and b have no gradient.

    It teaches the gates which latents the reconstruction needs (Rajamanoharan et al. 2024).

    Args:
        autoencoder: whose pre-codes are gates; its decoder is linear.
        reconstruction: the loss.
    """

    weight = 1.0
    in_training_only = False

    def __init__(self, autoencoder: AutoEncoder, reconstruction: Reconstruction) -> None:
        super().__init__()
        # In a tuple the network is not registered a second time.
        self._autoencoder = (autoencoder,)
        self._reconstruction = reconstruction

    def mean(self, passed: Pass, target: Tensor) -> Tensor:
        linear = self._autoencoder[0].linear_decoder()
        assert linear is not None
        weight, bias = linear
        codes = passed.pre_codes.relu()
        x_hat = nn.functional.linear(
            codes, weight.detach(), None if bias is None else bias.detach()
        )
        x_hat = x_hat.view_as(target)
        return self._reconstruction(Pass(passed.pre_codes, codes, x_hat, x_hat), target)
