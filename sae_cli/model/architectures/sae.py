"""Sparse auto-encoders as interpretability trains them: one layer each way, around a centre."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Positive, Width
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.gated import Gated
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, code_width
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init, linear
from sae_cli.model.layers import UnitNorm, constrain_

BiasInit = Literal["zeros", "mean", "geometric_median"]


@final
class SubtractBias(nn.Module):
    """Subtracts the bias of a decoder's layer, which the decoder adds again.

    The bias stays one parameter, owned by the decoder, and receives the gradient of both uses.
    """

    def __init__(self, decoder_layer: nn.Linear) -> None:
        super().__init__()
        # In a tuple the decoder's layer is not registered a second time.
        self._decoder_layer = (decoder_layer,)

    def forward(self, x: Tensor) -> Tensor:
        return x - self._decoder_layer[0].bias


@ARCHITECTURES.register("sae")
def sae(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    n_latents: Width | None,
    expansion_factor: Positive | None,
    subtract_bias: bool,
    bias_init: BiasInit,
    tied_init: bool,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Build ``f = activation(W (x - b) + c)`` and ``x_hat = D f + b``.

    Bricken et al. 2023, Towards monosemanticity; Gao et al. 2024, Scaling and evaluating sparse
    autoencoders.

    Args:
        shape: of the data.
        activation: makes the codes.
        generator: draws the initial weights, those of the encoder first.
        n_latents: width of the code; None to give a factor instead.
        expansion_factor: width of the code as a multiple of the number of input features, or None.
        subtract_bias: the encoder sees ``x - b``; with false it sees ``x``, and b is only added.
        bias_init: what b begins with: zeros, or a centre of the training split.
        tied_init: the decoder begins with atoms of unit norm, and the encoder as their transpose.
        unit_norm_decoder: atoms keep unit norm. The gradient then has no part along an atom: the
            part that the literature removes before each step.
        init: how initial weights are drawn.

    Raises:
        ConfigError: both widths are given, or neither; or the encoder is to begin as a transpose of
            another shape.
    """
    if tied_init and activation.samples:
        raise ConfigError(
            f"architecture.tied_init=true begins with a weight of one number for each latent, and "
            f"activation={activation.name} takes {activation.pre_codes_per_latent}; give "
            "architecture.tied_init=false, or another activation"
        )
    width = code_width(shape, n_latents, expansion_factor)
    n_pre_codes = width * activation.pre_codes_per_latent
    encoder = linear(shape.n_features, n_pre_codes, init, generator)
    decoder = linear(width, shape.n_features, init, generator)
    if isinstance(activation, Gated):
        activation.gate_by_(encoder)
    with torch.no_grad():
        decoder.bias.zero_()
        if tied_init:
            decoder.weight.copy_(nn.functional.normalize(decoder.weight, dim=0))
            encoder.weight.copy_(decoder.weight.t())
    if unit_norm_decoder:
        constrain_(decoder, UnitNorm(dim=0))
    centring = [SubtractBias(decoder)] if subtract_bias else []
    return AutoEncoder(
        nn.Sequential(nn.Flatten(), *centring, encoder),
        activation,
        nn.Sequential(decoder, nn.Unflatten(1, shape.input_shape)),
        Pointwise("identity"),
        width,
        bias_from=None if bias_init == "zeros" else bias_init,
    )
