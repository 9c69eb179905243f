"""Convolutional auto-encoders: SAME convolutions with pools; the decoder mirrors the encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Generator, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH, Width
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, one_each
from sae_cli.model.architectures.conv_layers import (
    FromFlat,
    FromImages,
    Geometry,
    TiedConv,
    ToFlat,
    TransposedConv,
    UnitNormKernels,
    convolution,
    image_maps,
    pad,
)
from sae_cli.model.architectures.stack import stack
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init, linear
from sae_cli.model.layers import TiedLinear, UnitNorm, constrain_

# These bounds are far above what can be trained, and PyTorch can still count a layer's weights.
MAX_LAYERS = 1000
LAYERS = "layers of architecture.channels"
Channels = Annotated[int, Field(ge=1, le=2**16)]
Side = Annotated[int, Field(ge=1, le=2**10)]
PerLayer = Annotated[list[Side], Field(max_length=MAX_LAYERS)]


@ARCHITECTURES.register("conv")
def conv(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    channels: Annotated[list[Channels], Field(min_length=1, max_length=MAX_LAYERS)],
    kernel_sizes: PerLayer,
    strides: PerLayer,
    pools: PerLayer,
    hidden_activations: Annotated[list[ActivationName], Field(max_length=MAX_LAYERS)],
    n_latents: Width | None,
    output_activation: ActivationName,
    tied: bool,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Build convolutions, a dense layer to the code, and the same layers back.

    Each convolution is followed by max-pooling and then by its activation: the other order gives
    the same for activations that never fall, and takes longer. The decoder has a dense layer
    back to the last maps and a transposed convolution for each convolution, with activations
    between them.

    Args:
        shape: of the data.
        activation: makes the codes.
        generator: draws the initial weights.
        channels: of each convolution's output, from the input on.
        kernel_sizes: height and width of the kernels: one for all convolutions, or one each.
        strides: one for all, or one each.
        pools: height and width of the windows of max-pooling, 1 for none: one for all, or one each.
        hidden_activations: after the convolutions, the last one too: one for all, or one each.
        n_latents: width of the code after a dense layer; None if the last maps are the code.
        output_activation: of the reconstruction.
        tied: the decoder's weights are the encoder's, transposed (biases are its own).
        unit_norm_decoder: in each decoder layer, a feature adds a kernel of unit norm to the layer
            below, so that codes cannot shrink for free.
        init: how initial weights are drawn.

    Raises:
        ConfigError: the data are not images, or too small for the pools; a list has another
            length; or the activation takes several pre-codes for each latent, which only a dense
            layer that is not tied can make.
    """
    _check_pre_codes(activation, n_latents, tied)
    below, geometries = image_maps(shape, "conv"), []
    sizes = [
        one_each(key, given, len(channels), LAYERS)
        for key, given in (("kernel_sizes", kernel_sizes), ("strides", strides), ("pools", pools))
    ]
    for n, kernel, stride, pool in zip(channels, *sizes, strict=True):
        geometries.append(Geometry(below, n, kernel, stride, pool))
        below = geometries[-1].above
    check_sizes(geometries)
    names = one_each("hidden_activations", hidden_activations, len(channels), LAYERS)
    hidden = [Pointwise(name, activation.active_above) for name in names]
    outputs = [Pointwise(output_activation), *hidden]
    layers = []
    for i, geometry in enumerate(geometries):
        there, back = _pair(geometry, init, generator, tied, unit_norm_decoder)
        down: list[nn.Module] = [*there, ToFlat()]
        codes: Activation = hidden[i]
        if n_latents is None and i == len(channels) - 1:
            # Maps that are the code have their hidden activation before that of the code.
            down.append(hidden[i])
            codes = activation
        up = [ToFlat()] if i else [nn.Flatten(), nn.Unflatten(1, shape.input_shape)]
        layers.append(
            AutoEncoder(
                nn.Sequential((FromFlat if i else FromImages)(geometry.below), *down),
                codes,
                nn.Sequential(FromFlat(geometry.above), back, *up),
                outputs[i],
                math.prod(geometry.above),
                code_shape=geometry.above.as_flat,
            )
        )
    if n_latents is not None:
        n_in = math.prod(below)
        layers.append(_dense(n_in, n_latents, activation, generator, tied, unit_norm_decoder, init))
    return stack(layers, [nn.Identity() for _ in layers[:-1]])


def _pair(
    geometry: Geometry, init: Init, generator: Generator, tied: bool, unit_norm_decoder: bool
) -> tuple[list[nn.Module], TiedConv | TransposedConv]:
    """Make a convolution with its padding and its pool, and the layer that mirrors them."""
    there = convolution(geometry, init, generator)
    back = TiedConv(geometry, there) if tied else TransposedConv(geometry, init, generator)
    if unit_norm_decoder:
        constrain_(there if tied else back, UnitNormKernels())
    windows = [nn.MaxPool2d(geometry.pool)] if geometry.pool > 1 else []
    return [*pad(geometry, there), *windows], back


def _dense(
    n_in: int,
    n_latents: int,
    activation: Activation,
    generator: Generator,
    tied: bool,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Make the layer between the last maps and the code.

    As in the published networks, its decoder has no output activation.
    """
    n_pre_codes = n_latents * activation.pre_codes_per_latent
    to_code = linear(n_in, n_pre_codes, init, generator)
    back = TiedLinear(to_code) if tied else linear(n_latents, n_in, init, generator)
    if unit_norm_decoder:
        constrain_(to_code if tied else back, UnitNorm(dim=1 if tied else 0))
    return AutoEncoder(to_code, activation, back, Pointwise("identity"), n_latents)


def check_sizes(geometries: Sequence[Geometry]) -> None:
    """Raise ConfigError if images are too small for the pools, or maps too large to count."""
    for number, geometry in enumerate(geometries, 1):
        _, height, width = geometry.convolved
        if min(geometry.above) < 1:
            raise ConfigError(
                f"architecture.pools: layer {number} has {height}x{width} maps, smaller than its "
                f"windows of {geometry.pool}x{geometry.pool}; give a smaller pool or fewer layers"
            )
        if math.prod(geometry.convolved) > MAX_WIDTH:
            raise ConfigError(
                f"architecture.channels: layer {number} makes {math.prod(geometry.convolved)} "
                f"values of an image; give fewer channels, for at most {MAX_WIDTH}"
            )


def _check_pre_codes(activation: Activation, n_latents: int | None, tied: bool) -> None:
    each = activation.pre_codes_per_latent
    if each > 1 and (n_latents is None or tied):
        fault = "architecture.tied=true" if tied else "architecture.n_latents=null"
        mend = "architecture.tied=false" if tied else "architecture.n_latents=NUMBER"
        raise ConfigError(
            f"{fault} makes as many pre-codes as latents, and activation={activation.name} needs "
            f"{each} for each; give {mend}"
        )
