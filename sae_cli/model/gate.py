"""The further term of gated sparse auto-encoders."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.further import FurtherTerm
from sae_cli.model.layers import linear_over_latents
from sae_cli.model.reconstruction import MSE, Reduction


@final
class GateReconstruction(nn.Module, FurtherTerm):
    """The squared error of ``D ReLU(gates) + b`` where D and b have no gradient.

    It teaches the gates which latents the reconstruction needs (Rajamanoharan et al. 2024).

    Args:
        autoencoder: whose pre-codes are gates; its decoder is linear.
        reduction: of the features of one example.
    """

    weight = 1.0
    in_training_only = False

    def __init__(self, autoencoder: AutoEncoder, reduction: Reduction) -> None:
        super().__init__()
        # In a tuple the network is not registered a second time.
        self._autoencoder = (autoencoder,)
        self._reconstruction = MSE(reduction=reduction)

    def mean(self, passed: Pass, target: Tensor) -> Tensor:
        linear = self._autoencoder[0].linear_decoder()
        assert linear is not None
        weight, bias = linear
        codes = passed.pre_codes.relu()
        fixed = None if bias is None else bias.detach()
        x_hat = linear_over_latents(codes, weight.detach(), fixed).view_as(target)
        return self._reconstruction(Pass(passed.pre_codes, codes, x_hat, x_hat), target)
