"""Convolutional stages with L2 pooling: the pool against NumPy, unit norms, layers, shifts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, DataShape
from sae_cli.datasets import DATASETS
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.activations.pointwise import Pointwise, activations_within
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.architectures.conv_group import L2Pool, Scale, Spread
from sae_cli.model.architectures.conv_layers import Geometry, Maps, TransposedConv
from sae_cli.model.autoencoder import AutoEncoder

OPTIONS: dict[str, Any] = {
    "name": "conv_group",
    "channels": [4, 6, 5],
    "kernel_sizes": [3],
    "pool": 2,
    "output_activation": "identity",
    "init": "glorot_uniform",
}
SHAPE = DataShape((2, 12, 8), None)


def build(shape: DataShape = SHAPE, seed: int = 0, **options: Any) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    return ARCHITECTURES.build(section, shape, Pointwise("relu"), Generator().manual_seed(seed))


def batch(n: int = 5) -> Tensor:
    return torch.rand((n, *SHAPE.input_shape), generator=Generator().manual_seed(9))


def test_contract(tmp_path: Path) -> None:
    made = build()
    passed = made(batch())
    assert made.n_latents == 5 * 3 * 2
    assert passed.codes.shape == (5, 5 * 3 * 2)
    assert passed.x_hat.shape == (5, *SHAPE.input_shape)
    passed.x_hat.square().sum().backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()

    safetensors.torch.save_file(made.state_dict(), tmp_path / "model.safetensors")
    other = build(seed=1)
    assert not torch.equal(other(batch()).x_hat, passed.x_hat)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(batch()).x_hat, passed.x_hat)


def test_the_pool_against_numpy_and_its_gradient_at_zero() -> None:
    pool = L2Pool(Geometry(Maps(2, 4, 6), 3, kernel=3, pool=2))
    codes = torch.randn(5, 4 * 6 * 3, generator=Generator().manual_seed(0))
    maps = codes.numpy().reshape(5, 4, 6, 3)
    wanted = np.zeros((5, 2, 3, 3))
    for i, j in np.ndindex(2, 3):
        window = maps[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        wanted[:, i, j] = np.sqrt((window**2).sum((1, 2)))
    np.testing.assert_allclose(pool(codes).numpy(), wanted.reshape(5, -1), atol=1e-5)
    nothing = torch.zeros(1, 4 * 6 * 3, requires_grad=True)
    pool(nothing).sum().backward()
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_spreading_keeps_the_norm_of_every_window() -> None:
    geometry = Geometry(Maps(2, 4, 6), 3, kernel=3, pool=2)
    pooled = torch.rand(5, 2 * 3 * 3, generator=Generator().manual_seed(0)) + 0.1
    spread = Spread(geometry)(pooled)
    assert spread.shape == (5, 4 * 6 * 3)
    assert torch.allclose(L2Pool(geometry)(spread), pooled, atol=1e-6)


def test_a_scale_before_a_relu_is_a_scale_after_it() -> None:
    scale = Scale(3)
    with torch.no_grad():
        scale.log_scale.copy_(torch.tensor([0.5, -1.0, 0.0]).view(3, 1, 1))
    maps = torch.randn(2, 3, 4, 4, generator=Generator().manual_seed(0))
    by_hand = maps.relu() * torch.tensor([0.5, -1.0, 0.0]).exp().view(3, 1, 1)
    assert torch.allclose(scale(maps).relu(), by_hand)


def test_each_stage_is_trained_on_the_pools_of_the_one_below() -> None:
    made = build()
    data, sizes = batch(), []
    for layer in made.layers:
        passed = layer(data)
        assert passed.x_hat.shape == data.shape
        sizes.append(layer.n_latents)
        codes, data = passed.codes, layer.pass_on(passed.codes)
    assert sizes == [12 * 8 * 4, 6 * 4 * 6, 3 * 2 * 5]
    # The last stage's features are the code; nothing pools them.
    assert torch.equal(codes, data)
    assert torch.equal(codes, made.encode(batch()))
    for i, layer in reversed(list(enumerate(made.layers))):
        codes = layer.decode(codes)
        if i > 0:
            below = Geometry(Maps(1, 12 // 2 ** (i - 1), 8 // 2 ** (i - 1)), [4, 6][i - 1], 3)
            codes = Spread(Geometry(below.below, below.channels, 3, pool=2))(codes)
    assert torch.equal(codes, made(batch()).x_hat)
    own = [sum(p.numel() for p in layer.parameters()) for layer in made.layers]
    assert sum(own) == sum(p.numel() for p in made.parameters())


def test_the_decoder_is_linear_and_its_kernels_keep_unit_norm() -> None:
    made = build()
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made(batch()).x_hat.square().sum().backward()
        optimizer.step()
    decoders = [module for module in made.modules() if isinstance(module, TransposedConv)]
    assert len(decoders) == 3
    for decoder in decoders:
        norms = decoder.weight.flatten(1).norm(dim=1)
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-6)
    with torch.no_grad():
        nothing, *parts = made.decode(torch.cat([torch.zeros(1, 30), torch.eye(30)]))
        codes = torch.rand(1, 30, generator=Generator().manual_seed(0))
        summed = nothing + sum(
            code * (part - nothing) for code, part in zip(codes[0], parts, strict=True)
        )
        assert torch.allclose(made.decode(codes)[0], summed, atol=1e-5)


def gabors(size: int) -> Tensor:
    """Make ``(8, 1, size, size)``: a wave of one and a half periods under a bell, at 8 angles."""
    place = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    angles = torch.arange(8).view(8, 1, 1) * torch.pi / 8
    along = x * angles.cos() + y * angles.sin()
    bell = (-(x**2 + y**2) / (2 * (size / 4) ** 2)).exp()
    waves = (1.5 * 2 * torch.pi / size * along).sin() * bell
    filters: Tensor = waves / waves.flatten(1).norm(dim=1).view(8, 1, 1)
    return filters.unsqueeze(1)


@pytest.mark.parametrize("random", [False, True])
def test_pools_change_less_than_features_where_an_image_is_shifted(random: bool) -> None:
    """Real digits are shifted right by one pixel; changes are relative to the features' size."""
    data = DATASETS.build({"name": "digits", "val": 200, "test": 300})
    digits = torch.nn.functional.interpolate(data.test.values(data.test.rows[:100]), scale_factor=3)
    first = build(DataShape((1, 24, 24), None), channels=[8, 8], kernel_sizes=[7]).layers[0]
    (convolution,) = (m for m in first.encoder.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        if not random:
            convolution.weight.copy_(gabors(7))
        here = first.encode(digits)
        there = first.encode(digits.roll(1, dims=3))
        raw = (there - here).norm() / here.norm()
        pooled = (first.pass_on(there) - first.pass_on(here)).norm()
        pooled = pooled / first.pass_on(here).norm()
    assert float(pooled / raw) < 0.8


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"does not cut the 3x2 maps of layer 3 into whole"):
        build(channels=[4, 6, 5, 5])
    with pytest.raises(ConfigError, match=r"architecture=conv_group needs images"):
        build(DataShape((64,), None))
    with pytest.raises(ConfigError, match=r"architecture.kernel_sizes"):
        build(kernel_sizes=[3, 3])
    section = ARCHITECTURES.check(OPTIONS)
    gaussian = ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0})
    with pytest.raises(ConfigError, match=r"choose architecture=conv or another"):
        ARCHITECTURES.build(section, SHAPE, gaussian, Generator().manual_seed(0))


def test_any_activation() -> None:
    section = ARCHITECTURES.check(OPTIONS)
    for name in activations_within(REALS):
        code = ACTIVATIONS.build({"name": name, "active_above": 0.0})
        made = ARCHITECTURES.build(section, SHAPE, code, Generator().manual_seed(0))
        assert torch.isfinite(made(batch()).x_hat).all()
