"""Dense auto-encoders: linear layers with activations between; the decoder mirrors the encoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Generator, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Positive, Width
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, code_width, one_each
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init, linear
from sae_cli.model.layers import TiedLinear, UnitNorm, constrain_

# This bound is far above what can be trained without shortcuts between layers.
MAX_HIDDEN = 1000


@ARCHITECTURES.register("dense")
def dense(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    hidden_sizes: Annotated[list[Width], Field(max_length=MAX_HIDDEN)],
    hidden_activations: Annotated[list[ActivationName], Field(max_length=MAX_HIDDEN)],
    n_latents: Width | None,
    expansion_factor: Positive | None,
    output_activation: ActivationName,
    tied: bool,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Build layers from the input over ``hidden_sizes`` to the code, and the same layers back.

    Args:
        shape: of the data.
        activation: makes the codes.
        generator: draws the initial weights.
        hidden_sizes: widths between input and code, from the input on; may be empty.
        hidden_activations: one for all hidden layers, or one each.
        n_latents: width of the code; None to give a factor instead.
        expansion_factor: width of the code as a multiple of the number of input features, or None.
        output_activation: of the reconstruction.
        tied: the decoder's weights are the encoder's, transposed (biases are its own).
        unit_norm_decoder: the columns of every decoder weight have unit norm. With one layer these
            are the atoms, and a smaller code is a smaller reconstruction; with several, later
            layers can make up for smaller codes only within bounds.
        init: how initial weights are drawn.

    Raises:
        ConfigError: widths or activations do not fit together.
    """
    width = code_width(shape, n_latents, expansion_factor)
    sizes = [shape.n_features, *hidden_sizes, width]
    if tied and activation.samples:
        raise ConfigError(
            f"architecture.tied=true shares a weight of one number for each latent, and "
            f"activation={activation.name} takes {activation.pre_codes_per_latent}; give "
            "architecture.tied=false, or another activation"
        )
    n_hidden = len(hidden_sizes)
    names = one_each("hidden_activations", hidden_activations, n_hidden, "hidden layers")
    between = [Pointwise(name, activation.active_above) for name in names]
    ends = [*sizes[:-1], width * activation.pre_codes_per_latent]
    encoder = [
        linear(n_in, n_out, init, generator) for n_in, n_out in zip(sizes, ends[1:], strict=False)
    ]
    decoder: list[nn.Module] = [
        TiedLinear(layer) if tied else linear(n_out, n_in, init, generator)
        for layer, (n_in, n_out) in zip(encoder, pairwise(sizes), strict=True)
    ]
    if unit_norm_decoder:
        # A column of a tied decoder is a row of the encoder.
        for layer in encoder if tied else decoder:
            constrain_(layer, UnitNorm(dim=1 if tied else 0))
    return _unroll(shape, encoder, decoder, [*between, activation], Pointwise(output_activation))


def _unroll(
    shape: DataShape,
    encoder: list[nn.Linear],
    decoder: list[nn.Module],
    activations: list[Activation],
    output_activation: Activation,
) -> AutoEncoder:
    """Make the whole network, and each layer as an auto-encoder over the same parameters.

    ``decoder[i]`` undoes ``encoder[i]``; ``activations[i]`` follows ``encoder[i]``.
    """
    down: list[nn.Module] = [nn.Flatten()]
    for layer, activation in zip(encoder[:-1], activations, strict=False):
        down += [layer, activation]
    up: list[nn.Module] = [decoder[-1]]
    for undo, activation in zip(decoder[-2::-1], activations[-2::-1], strict=True):
        up += [activation, undo]
    unflatten = nn.Unflatten(1, shape.input_shape)
    layers = [
        AutoEncoder(
            nn.Sequential(nn.Flatten(), encoder[i]),
            activations[i],
            decoder[i] if i else nn.Sequential(decoder[i], unflatten),
            activations[i - 1] if i else output_activation,
            _n_codes(encoder[i], activations[i]),
        )
        for i in range(len(encoder))
    ]
    return AutoEncoder(
        nn.Sequential(*down, encoder[-1]),
        activations[-1],
        nn.Sequential(*up, unflatten),
        output_activation,
        _n_codes(encoder[-1], activations[-1]),
        layers,
    )


def _n_codes(layer: nn.Linear, activation: Activation) -> int:
    return layer.out_features // activation.pre_codes_per_latent
