"""Convolutional stages with L2 pooling between them, to be trained with a group penalty.

The encoder of a stage is a convolution, a scale for each channel and the activation. The penalty
and the next stage see pools of its features; its linear decoder sees the features themselves
(Kavukcuoglu et al. 2009 and LeCun's lectures of 2020, week 9).
"""

from __future__ import annotations

import math
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, one_each
from sae_cli.model.architectures.conv import (
    LAYERS,
    MAX_LAYERS,
    Channels,
    PerLayer,
    Side,
    check_sizes,
)
from sae_cli.model.architectures.conv_layers import (
    FromFlat,
    FromImages,
    Geometry,
    ToFlat,
    TransposedConv,
    UnitNormKernels,
    convolution,
    image_maps,
    pad,
)
from sae_cli.model.architectures.stack import stack
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init
from sae_cli.model.layers import constrain_

# It stands inside the root, which then has a gradient where all features of a pool are 0.
EPSILON = 1e-8


@final
class Scale(nn.Module):
    """A learned positive factor for each channel of ``(batch, channels, height, width)``.

    It stands before the activation; after a ReLU it would do the same, because
    ``relu(s z) = s relu(z)`` for s > 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.log_scale.exp()


@final
class L2Pool(nn.Module):
    """``sqrt(sum of squares + EPSILON)`` over windows that do not overlap, for each channel.

    It takes flat features ``(batch, n)`` to flat pooled features ``(batch, n / pool^2)``.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, codes: Tensor) -> Tensor:
        channels, height, width = self.geometry.above
        pool = self.geometry.pool
        windows = codes.reshape(-1, height, pool, width, pool, channels)
        return (windows.square().sum((2, 4)) + EPSILON).sqrt().flatten(1)


@final
class Spread(nn.Module):
    """Pooled features spread evenly over their windows: ``value / pool`` keeps the norm.

    It takes flat pooled features ``(batch, n / pool^2)`` to flat features ``(batch, n)``.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def forward(self, pooled: Tensor) -> Tensor:
        channels, height, width = self.geometry.above
        pool = self.geometry.pool
        one = pooled.reshape(-1, height, 1, width, 1, channels) / pool
        return one.expand(-1, -1, pool, -1, pool, -1).flatten(1)


@ARCHITECTURES.register("conv_group")
def conv_group(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    channels: Annotated[list[Channels], Field(min_length=1, max_length=MAX_LAYERS)],
    kernel_sizes: PerLayer,
    pool: Side,
    output_activation: ActivationName,
    init: Init,
) -> AutoEncoder:
    """Build stages of SAME convolution, learned scale and activation, with L2 pooling between them.

    The codes are the features of the last stage, not pooled, in the order row, column, channel:
    a group penalty pools them. As an auto-encoder of its own (schedule=greedy), a stage
    reconstructs its input: the image, or the pooled features of the stage below. On the way back
    through the whole network, pooled features are spread evenly over their windows.

    Args:
        shape: of the data.
        activation: of every stage.
        generator: draws the initial weights.
        channels: features of each stage at each place, from the input on.
        kernel_sizes: height and width of the kernels: one for all stages, or one each.
        pool: height and width of the windows between stages, which do not overlap.
        output_activation: of the reconstruction.
        init: how initial weights are drawn. A feature adds a kernel of unit norm to the layer
            below, so that codes cannot shrink for free.

    Raises:
        ConfigError: the data are not images, or cannot be cut into whole windows; or the activation
            needs several pre-codes for each latent.
    """
    _check_pre_codes(activation)
    below, geometries = image_maps(shape, "conv_group"), []
    sizes = one_each("kernel_sizes", kernel_sizes, len(channels), LAYERS)
    for i, (n, kernel) in enumerate(zip(channels, sizes, strict=True)):
        geometries.append(Geometry(below, n, kernel, pool=pool if i < len(channels) - 1 else 1))
        _check_windows(geometries[-1], i + 1)
        below = geometries[-1].above
    check_sizes(geometries)
    layers = []
    for i, geometry in enumerate(geometries):
        from_below = FromFlat(geometry.below) if i else FromImages(geometry.below)
        down = pad(geometry, convolution(geometry, init, generator))
        # The windows pool the data for the next stage, not this stage's own features.
        own = Geometry(geometry.below, geometry.channels, geometry.kernel)
        back = TransposedConv(own, init, generator)
        constrain_(back, UnitNormKernels())
        to_below = [ToFlat()] if i else [nn.Flatten(), nn.Unflatten(1, shape.input_shape)]
        layers.append(
            AutoEncoder(
                nn.Sequential(from_below, *down, Scale(geometry.channels), ToFlat()),
                activation,
                nn.Sequential(FromFlat(own.above), back, *to_below),
                Pointwise("identity" if i else output_activation),
                math.prod(own.above),
                code_shape=own.above.as_flat,
                pass_on=L2Pool(geometry) if i < len(channels) - 1 else None,
            )
        )
    return stack(layers, [Spread(geometry) for geometry in geometries[:-1]])


def _check_windows(geometry: Geometry, number: int) -> None:
    _, height, width = geometry.convolved
    if height % geometry.pool or width % geometry.pool:
        raise ConfigError(
            f"architecture.pool={geometry.pool} does not cut the {height}x{width} maps of layer "
            f"{number} into whole windows; give a pool that does, or fewer architecture.channels"
        )


def _check_pre_codes(activation: Activation) -> None:
    each = activation.pre_codes_per_latent
    if each > 1:
        raise ConfigError(
            f"architecture=conv_group makes as many pre-codes as latents, and activation="
            f"{activation.name} needs {each} for each; choose architecture=conv or another "
            "activation"
        )
