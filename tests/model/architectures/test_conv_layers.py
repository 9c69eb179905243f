"""Convolutions and their mirror images against explicit sums."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.architectures.conv_layers import (
    FromFlat,
    FromImages,
    Geometry,
    Maps,
    TiedConv,
    ToFlat,
    TransposedConv,
    convolution,
    image_maps,
    pad,
)

GEOMETRIES = [
    Geometry(Maps(2, height, width), 3, kernel, stride)
    for (height, width), kernel, stride in product(
        [(7, 7), (8, 8), (5, 10), (1, 3)], [1, 2, 3, 4, 5], [1, 2, 3]
    )
]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def same(x: NDArray[np.float32], w: NDArray[np.float32], stride: int) -> NDArray[np.float64]:
    """Convolve place by place, by TensorFlow's definition of SAME: an output for each stride that
    begins in the input, and the padding that they need, its smaller half first."""
    _, height, width = x.shape
    kernel = w.shape[2]
    outs = [math.ceil(n / stride) for n in (height, width)]
    first = [
        max((out - 1) * stride + kernel - n, 0) // 2
        for out, n in zip(outs, (height, width), strict=True)
    ]
    made = np.zeros((len(w), *outs))
    for feature, i, j in np.ndindex(made.shape):
        for k, m in np.ndindex(kernel, kernel):
            row, column = i * stride + k - first[0], j * stride + m - first[1]
            if 0 <= row < height and 0 <= column < width:
                made[feature, i, j] += float(w[feature, :, k, m] @ x[:, row, column])
    return made


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_same_convolution_place_by_place(geometry: Geometry) -> None:
    layer = convolution(geometry, "torch_default", Generator().manual_seed(1))
    x = random(1, *geometry.below)
    made = nn.Sequential(*pad(geometry, layer))(x)
    assert layer.bias is not None
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    wanted = same(x[0].numpy(), weight, geometry.stride) + bias[:, None, None]
    assert made.shape[1:] == geometry.convolved == wanted.shape
    np.testing.assert_allclose(made[0].detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_mirror_is_the_transpose(geometry: Geometry) -> None:
    """<conv(x), y> = <x, mirror(y)> for all x and y, without biases."""
    layer = convolution(geometry, "glorot_uniform", Generator().manual_seed(1))
    mirror = TiedConv(geometry, layer)
    x, y = random(1, *geometry.below), random(1, *geometry.above, seed=2)
    there, back = nn.Sequential(*pad(geometry, layer))(x), mirror(y)
    assert back.shape == x.shape
    one, other = (there * y).sum().detach(), (x * back).sum().detach()
    assert float(one) == pytest.approx(float(other), abs=1e-4)


def test_the_books_sizes_are_those_of_its_transposed_convolutions() -> None:
    """They go from 3 to 7 as Keras's VALID, from 7 to 14 and from 14 to 28 as its SAME."""
    for size in (7, 14, 28):
        geometry = Geometry(Maps(1, size, size), 1, kernel=3, pool=2)
        mirror = TransposedConv(geometry, "glorot_uniform", Generator().manual_seed(0))
        n = geometry.above.height
        assert n == size // 2
        maps = random(1, *geometry.above)
        wanted = np.zeros((2 * n + 1, 2 * n + 1))
        for i, j in np.ndindex(n, n):
            kernel = mirror.weight[0, 0].detach().numpy()
            wanted[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += float(maps[0, 0, i, j]) * kernel
        made = mirror(maps)[0, 0].detach().numpy()
        np.testing.assert_allclose(made, wanted[:size, :size], atol=1e-6)


def test_rows_and_columns_that_a_pool_left_out_get_the_bias() -> None:
    geometry = Geometry(Maps(1, 5, 3), 1, kernel=1, pool=3)
    mirror = TransposedConv(geometry, "glorot_uniform", Generator().manual_seed(0))
    with torch.no_grad():
        mirror.bias.fill_(0.5)
    made = mirror(torch.ones(1, 1, 1, 1))
    wanted = torch.full((1, 1, 5, 3), 0.5)
    wanted[0, 0, 0, 0] += float(mirror.weight.detach())
    assert torch.equal(made, wanted)


@pytest.mark.parametrize("channels", [1, 3])
def test_flat_and_back_moves_nothing(channels: int) -> None:
    maps = Maps(channels, 4, 5)
    x = random(2, *maps)
    made = FromImages(maps)(x)
    assert torch.equal(made, x)
    assert made.stride()[1:] == (1, 5 * channels, channels)
    flat = ToFlat()(made)
    assert flat.data_ptr() == made.data_ptr()
    assert torch.equal(flat, x.permute(0, 2, 3, 1).reshape(2, -1))
    assert torch.equal(FromFlat(maps)(flat), x)
    assert FromFlat(maps)(flat).data_ptr() == made.data_ptr()


def test_shapes_of_images() -> None:
    assert image_maps(DataShape((3, 4, 5), None), "conv") == (3, 4, 5)
    assert image_maps(DataShape((4, 5), None), "conv") == (1, 4, 5)
    for shape in ((60,), (2, 3, 4, 5)):
        with pytest.raises(ConfigError, match=r"architecture=conv needs images.*choose"):
            image_maps(DataShape(shape, None), "conv")


@pytest.mark.parametrize(
    ("init", "limit"),
    [
        # Keras multiplies the kernel's area by the channels on either side.
        ("glorot_uniform", math.sqrt(6 / (25 * 20 + 25 * 30))),
        ("he_uniform", math.sqrt(6 / (25 * 20))),
        ("torch_default", math.sqrt(1 / (25 * 20))),
    ],
)
def test_initial_kernels_have_the_published_spread(init: str, limit: float) -> None:
    geometry = Geometry(Maps(20, 9, 9), 30, kernel=5)
    for layer in (
        convolution(geometry, init, Generator().manual_seed(0)),  # type: ignore[arg-type]
        TransposedConv(geometry, init, Generator().manual_seed(0)),  # type: ignore[arg-type]
    ):
        weight = layer.weight.detach()
        assert weight.shape == (30, 20, 5, 5)
        assert float(weight.abs().max()) == pytest.approx(limit, rel=1e-3)
        assert float(weight.std()) == pytest.approx(limit / math.sqrt(3), rel=0.02)
