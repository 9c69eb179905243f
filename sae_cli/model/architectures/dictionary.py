"""Dictionaries: linear decoders without bias, whose columns are the atoms, to infer codes with.

Such an auto-encoder alone encodes nothing of use; ``inference=ista`` or ``fista`` finds the codes,
starting from the encoder's prediction.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Generator, Tensor, nn

from sae_cli.core.options import Positive, Width
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, code_width
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init, linear
from sae_cli.model.layers import UnitNorm, constrain_


@final
class Zeros(nn.Module):
    """An encoder that predicts ``n`` zeros for each example."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.n)


@final
class GainedTanh(nn.Module):
    """``G tanh(W x + d)`` with a diagonal G, which begins as the identity.

    The gains let predictions grow beyond 1, as codes do.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.gains = nn.Parameter(torch.ones(layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.gains * torch.tanh(self.layer(x))


@ARCHITECTURES.register("dictionary")
def dictionary(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    n_latents: Width | None,
    expansion_factor: Positive | None,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Build a decoder alone; codes are predicted to be zero.

    Args:
        shape: of the data.
        activation: of the zeros; inference replaces its codes.
        generator: draws the initial atoms.
        n_latents: number of atoms; None to give a factor instead.
        expansion_factor: number of atoms as a multiple of the number of input features, or None.
        unit_norm_decoder: atoms have unit norm, so that codes cannot shrink for free.
        init: how initial atoms are drawn.

    Raises:
        ConfigError: both widths are given, or neither.
    """
    width = code_width(shape, n_latents, expansion_factor)
    encoder = Zeros(width * activation.pre_codes_per_latent)
    decoder = linear_decoder(shape, width, unit_norm_decoder, init, generator)
    return AutoEncoder(encoder, activation, decoder, Pointwise("identity"), width)


@ARCHITECTURES.register("predictive_dictionary")
def predictive_dictionary(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    n_latents: Width | None,
    expansion_factor: Positive | None,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Build a dictionary, and an encoder ``G tanh(W x + d)`` that predicts its codes.

    Kavukcuoglu, Ranzato and LeCun 2008, predictive sparse decomposition.

    Args:
        shape: of the data.
        activation: of the prediction.
        generator: draws the initial weights.
        n_latents: number of atoms; None to give a factor instead.
        expansion_factor: number of atoms as a multiple of the number of input features, or None.
        unit_norm_decoder: atoms have unit norm, so that codes cannot shrink for free.
        init: how initial weights are drawn.

    Raises:
        ConfigError: both widths are given, or neither.
    """
    width = code_width(shape, n_latents, expansion_factor)
    predictions = width * activation.pre_codes_per_latent
    predictor = GainedTanh(linear(shape.n_features, predictions, init, generator))
    decoder = linear_decoder(shape, width, unit_norm_decoder, init, generator)
    encoder = nn.Sequential(nn.Flatten(), predictor)
    return AutoEncoder(encoder, activation, decoder, Pointwise("identity"), width)


def linear_decoder(
    shape: DataShape, n_latents: int, unit_norm: bool, init: Init, generator: Generator
) -> nn.Sequential:
    """Make one layer without bias from ``(batch, n_latents)`` to ``(batch, *input_shape)``."""
    layer = linear(n_latents, shape.n_features, init, generator)
    layer.register_parameter("bias", None)
    if unit_norm:
        constrain_(layer, UnitNorm(dim=0))
    return nn.Sequential(layer, nn.Unflatten(1, shape.input_shape))
