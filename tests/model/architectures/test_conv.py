"""Convolutional auto-encoders: published counts, shapes, ties, unit norms, layers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, UNIT, DataShape
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.activations.pointwise import Pointwise, activations_within
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder

OPTIONS: dict[str, Any] = {
    "name": "conv",
    "channels": [4, 6],
    "kernel_sizes": [3],
    "strides": [1],
    "pools": [2],
    "hidden_activations": ["selu"],
    "n_latents": None,
    "output_activation": "sigmoid",
    "tied": False,
    "unit_norm_decoder": False,
    "init": "glorot_uniform",
}
BOOK: dict[str, Any] = {"channels": [16, 32, 64]}
CODE_2D: dict[str, Any] = {
    "channels": [32, 64, 64, 64],
    "strides": [1, 2, 2, 1],
    "pools": [1],
    "hidden_activations": ["leaky_relu_keras"],
    "n_latents": 2,
}
SHAPE = DataShape((2, 9, 8), None)
MNIST = DataShape((1, 28, 28), 10)


def build(
    shape: DataShape = SHAPE, activation: str = "relu", seed: int = 0, **options: Any
) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    code = ACTIVATIONS.build({"name": activation, "active_above": 0.0})
    return ARCHITECTURES.build(section, shape, code, Generator().manual_seed(seed))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def batch(shape: DataShape = SHAPE, n: int = 5) -> Tensor:
    return torch.rand((n, *shape.input_shape), generator=Generator().manual_seed(9))


@pytest.mark.parametrize("activation", activations_within(REALS))
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_latents", [None, 7])
def test_contract(activation: str, tied: bool, n_latents: int | None, tmp_path: Path) -> None:
    """Shapes; a gradient for every parameter; saving and loading to the bit; the seed's numbers."""
    chosen: dict[str, Any] = {"activation": activation, "tied": tied, "n_latents": n_latents}
    made = build(**chosen)
    passed = made(batch())
    # 9x8 is pooled to 4x4, then to 2x2.
    width = n_latents or 6 * 2 * 2
    assert passed.codes.shape == passed.pre_codes.shape == (5, width)
    assert made.n_latents == width
    assert passed.x_hat.shape == passed.pre_x_hat.shape == (5, *SHAPE.input_shape)
    assert torch.equal(made.encode(batch()), passed.codes)
    assert torch.equal(made.decode(passed.codes), passed.x_hat)
    ((passed.x_hat - batch()).square().mean() + passed.codes.sum()).backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()

    safetensors.torch.save_file(made.state_dict(), tmp_path / "model.safetensors")
    other = build(**chosen, seed=1)
    assert not torch.equal(other(batch()).x_hat, passed.x_hat)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(batch()).x_hat, passed.x_hat)
    assert torch.equal(build(**chosen)(batch()).x_hat, passed.x_hat)


def test_published_parameter_counts() -> None:
    """They are those of the book's network, and of GDL_code's with a code of two numbers."""
    for options, down, up, n_latents in (
        (BOOK, 23_296, 23_233, 576),
        (CODE_2D, 98_946, 102_017, 2),
    ):
        made = build(MNIST, **options)
        assert (count(made.encoder), count(made.decoder)) == (down, up)
        assert made.n_latents == n_latents
        assert made(batch(MNIST)).x_hat.shape == (5, 1, 28, 28)


def test_the_books_network_by_plain_calls() -> None:
    """They follow Keras: convolution, activation, pool; flat maps are the code."""

    made = build(MNIST, "identity", **BOOK)
    parameters = [p.detach() for p in made.parameters()]
    maps = batch(MNIST)
    for weight, bias in zip(parameters[0:6:2], parameters[1:6:2], strict=True):
        maps = F.max_pool2d(torch.selu(F.conv2d(maps, weight, bias, padding=1)), 2)
    codes = maps.permute(0, 2, 3, 1).flatten(1)
    assert torch.allclose(made.encode(batch(MNIST)), codes, atol=1e-6)
    up = F.conv_transpose2d(maps, parameters[6], parameters[7], stride=2)
    up = torch.selu(up)
    up = torch.selu(F.conv_transpose2d(up, parameters[8], parameters[9], stride=2)[..., :14, :14])
    up = F.conv_transpose2d(up, parameters[10], parameters[11], stride=2)[..., :28, :28]
    assert torch.allclose(made(batch(MNIST)).x_hat, up.sigmoid(), atol=1e-6)


def test_gradients_against_finite_differences() -> None:
    made = build(DataShape((1, 5, 4), None), "tanh", channels=[2, 3], pools=[2, 1], n_latents=3)
    made = made.double()
    x = batch(DataShape((1, 5, 4), None), 2).double()

    def error(*parameters: Tensor) -> Tensor:
        given = dict(zip(dict(made.named_parameters()), parameters, strict=True))
        passed = torch.func.functional_call(made, given, (x,))
        total: Tensor = (passed.x_hat - x).square().sum() + passed.codes.sum()
        return total

    assert torch.autograd.gradcheck(error, tuple(made.parameters()))


@pytest.mark.parametrize("unit_norm", [False, True])
def test_tied_weights_are_one_parameter_after_a_step_a_copy_and_a_reload(unit_norm: bool) -> None:
    def weights(model: AutoEncoder) -> int:
        return sum(parameter.ndim > 1 for parameter in model.parameters())

    chosen: dict[str, Any] = {"tied": True, "n_latents": 7, "unit_norm_decoder": unit_norm}
    made = build(**chosen)
    assert weights(made) == 3
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    made(batch()).x_hat.sum().backward()
    optimizer.step()
    copied, reloaded = copy.deepcopy(made), build(**chosen, seed=3)
    reloaded.load_state_dict(made.state_dict())
    moved = copied.to(torch.float64).float()
    for model in (made, moved, reloaded):
        for layer in model.layers:
            (down,) = (m for m in layer.encoder.modules() if isinstance(m, nn.Conv2d | nn.Linear))
            (up,) = (m for m in layer.decoder.modules() if hasattr(m, "bias"))
            there, back = down.weight, up.weight
            assert isinstance(back, Tensor)
            assert torch.equal(there, back if back.ndim == 4 else back.t())
            assert unit_norm or there.data_ptr() == back.data_ptr()
        assert torch.equal(model(batch()).x_hat, made(batch()).x_hat)
    # The copy has weights of its own.
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not torch.equal(copied(batch()).x_hat, made(batch()).x_hat)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n_latents", [None, 7])
def test_unit_norm_decoder_holds_through_training(tied: bool, n_latents: int | None) -> None:
    made = build(unit_norm_decoder=True, tied=tied, n_latents=n_latents)
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made(batch()).x_hat.square().sum().backward()
        optimizer.step()
    for layer in made.layers:
        (up,) = (m for m in layer.decoder.modules() if hasattr(m, "bias"))
        assert isinstance(up.weight, Tensor)
        kernels = up.weight.flatten(1) if up.weight.ndim == 4 else up.weight.t()
        assert torch.allclose(kernels.norm(dim=1), torch.ones(len(kernels)), atol=1e-6)


@pytest.mark.parametrize("n_latents", [None, 7])
@pytest.mark.parametrize("channels", [[4], [4, 6]])
def test_layers_share_their_parameters_with_the_whole(
    n_latents: int | None, channels: list[int]
) -> None:
    made = build(n_latents=n_latents, channels=channels)
    assert len(made.layers) == len(channels) + (n_latents is not None)
    codes = batch()
    for layer in made.layers:
        passed = layer(codes)
        # Each layer by itself reconstructs its input.
        assert passed.x_hat.shape == codes.shape
        codes = passed.codes
        assert codes.shape == (5, layer.n_latents)
    assert torch.equal(codes, made.encode(batch()))
    for layer in reversed(made.layers):
        codes = layer.decode(codes)
    assert torch.equal(codes, made(batch()).x_hat)
    assert sum(count(layer) for layer in made.layers) == count(made)


def test_images_without_an_axis_of_channels() -> None:
    plain, with_axis = build(DataShape((9, 8), None)), build(DataShape((1, 9, 8), None))
    x = batch(DataShape((9, 8), None))
    assert torch.equal(plain(x).x_hat, with_axis(x.unsqueeze(1)).x_hat.squeeze(1))


def test_colours_are_told_apart() -> None:
    """Images of three channels give the same as plain calls, in either order of memory."""
    shape = DataShape((3, 8, 8), None)
    made = build(shape, "identity", channels=[5], pools=[1], hidden_activations=["identity"])
    weight, bias, _, _ = (p.detach() for p in made.parameters())
    x = batch(shape)
    wanted = F.conv2d(x, weight, bias, padding=1)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        maps = made.encode(given).unflatten(1, (8, 8, 5)).permute(0, 3, 1, 2)  # type: ignore[no-untyped-call]
        assert torch.allclose(maps, wanted, atol=1e-6)


class _Pairs(Activation):
    """The sum of the two pre-codes of a latent."""

    name, interval, active_above, pre_codes_per_latent = "pairs", UNIT, 0.0, 2

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        one, other = pre_codes.chunk(2, 1)
        return one + other


def test_several_pre_codes_for_each_latent() -> None:
    section = ARCHITECTURES.check(OPTIONS | {"n_latents": 7})
    made = ARCHITECTURES.build(section, SHAPE, _Pairs(), Generator().manual_seed(0))
    passed = made(batch())
    assert passed.pre_codes.shape == (5, 14)
    assert passed.codes.shape == (5, 7)
    for wrong in ({"n_latents": None}, {"n_latents": 7, "tied": True}):
        section = ARCHITECTURES.check(OPTIONS | wrong)
        with pytest.raises(ConfigError, match="activation=pairs needs 2 for each; give"):
            ARCHITECTURES.build(section, SHAPE, _Pairs(), Generator().manual_seed(0))


def test_on_the_meta_device_nothing_is_drawn() -> None:
    generator = Generator().manual_seed(0)
    before = generator.get_state()
    with torch.device("meta"):
        section = ARCHITECTURES.check(OPTIONS | CODE_2D)
        made = ARCHITECTURES.build(section, MNIST, Pointwise("relu"), generator)
    assert all(parameter.is_meta for parameter in made.parameters())
    assert torch.equal(generator.get_state(), before)
    real = build(MNIST, **CODE_2D)
    shapes = {name: value.shape for name, value in made.state_dict().items()}
    assert shapes == {name: value.shape for name, value in real.state_dict().items()}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"pools": [2, 2, 2]},
            r"architecture.pools=\[2, 2, 2\]: give one, or one for each of the 2",
        ),
        ({"strides": []}, "architecture.strides"),
        ({"hidden_activations": ["relu"] * 3}, "architecture.hidden_activations"),
        ({"channels": [2] * 4}, "layer 4 has 1x1 maps, smaller than its windows of 2x2; give"),
        ({"channels": [2**16], "pools": [1]}, "give fewer channels"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], says: str) -> None:
    shape = DataShape((1, 2**8, 2**8), None) if options.get("channels") == [2**16] else SHAPE
    with torch.device("meta"), pytest.raises(ConfigError, match=says):
        build(shape, **options)
