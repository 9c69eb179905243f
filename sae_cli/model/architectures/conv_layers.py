"""Layers of convolutional auto-encoders: TensorFlow's SAME convolution and its mirror image.

Between layers the values of an example are flat, in the order row, column, channel, as in memory
for maps with channels last. So flattening moves nothing, and PyTorch's convolutions on a CPU take
less than two thirds of the time of channels first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.initialisation import Init, draw_


class Maps(NamedTuple):
    """The size of one example's maps between two layers."""

    channels: int
    height: int
    width: int

    @property
    def as_flat(self) -> tuple[int, int, int]:
        """Rows, columns, channels: the order of the flat values."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class Geometry:
    """The sizes of maps before and after one convolution and its pool.

    Attributes:
        below: size of the input.
        channels: of the output.
        kernel: height and width of the kernels.
        stride: of the convolution, in both directions.
        pool: height and width of the windows, which do not overlap; 1 for none.
    """

    below: Maps
    channels: int
    kernel: int
    stride: int = 1
    pool: int = 1

    @property
    def convolved(self) -> Maps:
        """Size after the SAME convolution: ``ceil(size / stride)``."""
        _, height, width = self.below
        return Maps(self.channels, -(-height // self.stride), -(-width // self.stride))

    @property
    def above(self) -> Maps:
        """Size after the pool, which leaves out a rest that does not fill a window."""
        _, height, width = self.convolved
        return Maps(self.channels, height // self.pool, width // self.pool)

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros above and below, and left and right, that make a convolution SAME.

        An odd number has its larger half at the end.
        """
        rows, columns = (
            max(0, (out - 1) * self.stride + self.kernel - size)
            for out, size in zip(self.convolved[1:], self.below[1:], strict=True)
        )
        return _halves(rows), _halves(columns)


def _halves(total: int) -> tuple[int, int]:
    return total // 2, total - total // 2


def image_maps(shape: DataShape, architecture: str) -> Maps:
    """Give the maps of the data: ``(channels, height, width)``, or ``(height, width)`` of one
    channel.

    Raises:
        ConfigError: the data are not images.
    """
    if len(shape.input_shape) not in {2, 3}:
        raise ConfigError(
            f"architecture={architecture} needs images, (channels, height, width) or (height, "
            f"width), and an example of the data has shape {shape.input_shape}; choose "
            "architecture=dense or a data set of images"
        )
    *channels, height, width = shape.input_shape
    return Maps(math.prod(channels), height, width)


@final
class FromImages(nn.Module):
    """Images ``(batch, *input_shape)`` as maps ``(batch, channels, height, width)``."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = self.maps
        if channels == 1:
            # With one channel both orders of memory are the same, and only the strides tell a
            # convolution which one to take.
            return x.reshape(-1, height, width, 1).permute(0, 3, 1, 2)
        images = x.reshape(-1, channels, height, width)
        return images.contiguous(memory_format=torch.channels_last)


@final
class FromFlat(nn.Module):
    """Flat values ``(batch, n)`` as maps ``(batch, channels, height, width)``."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = self.maps
        return x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


@final
class ToFlat(nn.Module):
    """Maps ``(batch, channels, height, width)`` as flat values ``(batch, n)``."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)


@final
class UnitNormKernels(nn.Module):
    """Parametrization of ``(features, channels, height, width)`` that scales each feature's kernel,
    over all its channels, to unit L2 norm."""

    def forward(self, weight: Tensor) -> Tensor:
        return F.normalize(weight.flatten(1), dim=1).view_as(weight)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


@final
class Mirror:
    """The transposed convolution that undoes the sizes of a convolution and its pool.

    Like TensorFlow's Conv2DTranspose it is the transpose of the SAME convolution: the full
    transposed convolution, cut where the convolution pads. A pool counts as a part of the stride.
    If the result is too small because the pool left out a rest, rows and columns without input
    (which get the bias) follow at the end.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.stride = geometry.stride * geometry.pool
        self.size = geometry.below[1:]
        lacking = [
            size - ((n - 1) * self.stride + geometry.kernel)
            for size, n in zip(self.size, geometry.above[1:], strict=True)
        ]
        self.more = [max(0, -(-n // self.stride)) for n in lacking]
        self.cut = [max(0, -n) // 2 for n in lacking]

    def __call__(self, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if any(self.more):
            maps = F.pad(maps, (0, self.more[1], 0, self.more[0]))
        made = F.conv_transpose2d(maps, weight, bias, self.stride, self.cut)
        height, width = self.size
        # An odd cut takes one more at the end. Even an empty cut would copy the gradient.
        return made if made.shape[2:] == self.size else made[:, :, :height, :width]


@final
class TransposedConv(nn.Module):
    """A decoder layer whose weight ``(features, channels, kernel, kernel)`` holds the kernels that
    the features add."""

    def __init__(self, geometry: Geometry, init: Init, generator: Generator) -> None:
        super().__init__()
        kernel = (geometry.kernel, geometry.kernel)
        self.weight = nn.Parameter(torch.empty(geometry.channels, geometry.below.channels, *kernel))
        self.bias = nn.Parameter(torch.empty(geometry.below.channels))
        self.mirror = Mirror(geometry)
        draw_(self.weight, self.bias, init, generator)

    def forward(self, maps: Tensor) -> Tensor:
        return self.mirror(maps, self.weight, self.bias)


@final
class TiedConv(nn.Module):
    """A decoder layer that uses the kernels of an encoder layer, with its own bias.

    The weight stays one parameter, owned by the encoder, as in
    :class:`~sae_cli.model.layers.TiedLinear`.
    """

    def __init__(self, geometry: Geometry, encoder_layer: nn.Conv2d) -> None:
        super().__init__()
        # In a tuple the encoder's layer is not registered a second time.
        self._encoder_layer = (encoder_layer,)
        self.bias = nn.Parameter(torch.zeros(geometry.below.channels))
        self.mirror = Mirror(geometry)

    @property
    def weight(self) -> Tensor:
        """The encoder's ``(features, channels, kernel, kernel)`` weight."""
        return self._encoder_layer[0].weight

    def forward(self, maps: Tensor) -> Tensor:
        return self.mirror(maps, self.weight, self.bias)


def convolution(geometry: Geometry, init: Init, generator: Generator) -> nn.Conv2d:
    """Make the SAME convolution without uneven padding, which :func:`pad` adds."""
    (top, bottom), (left, right) = geometry.padding
    even = top == bottom and left == right
    # PyTorch draws weights in vain, as for a linear layer.
    layer = nn.Conv2d(
        geometry.below.channels,
        geometry.channels,
        geometry.kernel,
        geometry.stride,
        padding=(top, left) if even else 0,
    )
    assert layer.bias is not None
    draw_(layer.weight, layer.bias, init, generator)
    return layer


def pad(geometry: Geometry, layer: nn.Conv2d) -> list[nn.Module]:
    """Put explicit padding in front of ``layer`` where SAME padding is uneven, which Conv2d cannot
    do."""
    (top, bottom), (left, right) = geometry.padding
    if top == bottom and left == right:
        return [layer]
    return [nn.ZeroPad2d((left, right, top, bottom)), layer]
