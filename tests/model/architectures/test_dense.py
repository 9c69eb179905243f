"""Dense auto-encoders: shapes, counts, ties, unit norms, initial weights."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from tests.contracts.small import page_of

OPTIONS: dict[str, Any] = {
    "name": "dense",
    "hidden_sizes": [10],
    "hidden_activations": ["selu"],
    "n_latents": 6,
    "expansion_factor": None,
    "output_activation": "sigmoid",
    "tied": False,
    "unit_norm_decoder": False,
    "init": "glorot_uniform",
}
SHAPE = DataShape((2, 3, 4), None)


def build(
    shape: DataShape = SHAPE, activation: str = "relu", seed: int = 0, **options: Any
) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    page = page_of(f"activation/{activation}.yaml")
    code = ACTIVATIONS.build(page | ({"k": 2} if "k" in page else {}))
    made = ARCHITECTURES.build(section, shape, code, Generator().manual_seed(seed))
    code.fit_to_([made.n_latents])
    return made


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def batch(n: int = 5) -> Tensor:
    return torch.rand((n, *SHAPE.input_shape), generator=Generator().manual_seed(9))


# The gates of a gated activation are those of architecture=sae.
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS.names if name != "gated"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("hidden_sizes", [[], [10], [10, 8]])
def test_contract(activation: str, tied: bool, hidden_sizes: list[int], tmp_path: Path) -> None:
    """Shapes; a gradient for every parameter; saving and loading to the bit; the seed's numbers."""
    if tied and activation == "gaussian":
        with pytest.raises(ConfigError, match="tied=true shares a weight"):
            build(activation=activation, tied=tied, hidden_sizes=hidden_sizes)
        return
    made = build(activation=activation, tied=tied, hidden_sizes=hidden_sizes)
    passed = made(batch())
    assert passed.codes.shape == (5, 6)
    assert passed.pre_codes.shape == (5, 6 * made.activation.pre_codes_per_latent)
    assert passed.x_hat.shape == passed.pre_x_hat.shape == (5, 2, 3, 4)
    assert torch.equal(made.encode(batch()), passed.codes)
    assert torch.equal(made.decode(passed.codes), passed.x_hat)
    # An activation that samples is given noise.
    drawn = made(batch(), torch.ones(5, 6) if made.activation.samples else None)
    ((drawn.x_hat - batch()).square().mean() + drawn.codes.sum()).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())

    safetensors.torch.save_file(made.state_dict(), tmp_path / "model.safetensors")
    other = build(activation=activation, tied=tied, hidden_sizes=hidden_sizes, seed=1)
    assert not torch.equal(other(batch()).x_hat, passed.x_hat)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(batch()).x_hat, passed.x_hat)
    again = build(activation=activation, tied=tied, hidden_sizes=hidden_sizes)
    assert torch.equal(again(batch()).x_hat, passed.x_hat)


def test_one_layer_against_numpy() -> None:
    made = build(hidden_sizes=[])
    w1, b1, w2, b2 = (p.detach().numpy() for p in made.parameters())
    x = batch().flatten(1).numpy()
    codes = np.maximum(x @ w1.T + b1, 0)
    x_hat = 1 / (1 + np.exp(-(codes @ w2.T + b2)))
    np.testing.assert_allclose(made(batch()).x_hat.flatten(1).detach().numpy(), x_hat, rtol=1e-5)


def test_published_parameter_counts() -> None:
    """784-100-30-100-784 of the book, and its tied form."""
    network: dict[str, Any] = {"hidden_sizes": [100], "n_latents": 30}
    assert count(build(DataShape((1, 28, 28), 10), **network)) == 163_814
    assert count(build(DataShape((1, 28, 28), 10), **network, tied=True)) == 82_414


def test_tied_weights_are_one_parameter_after_a_step_a_copy_and_a_reload() -> None:
    def tied(model: AutoEncoder) -> bool:
        down, up = model.layers[0].encoder[1], model.layers[0].decoder[0]  # type: ignore[index]
        return bool(down.weight.data_ptr() == up.weight.data_ptr())

    made = build(tied=True)
    optimizer = torch.optim.SGD(made.parameters(), 0.1)
    made(batch()).x_hat.sum().backward()
    optimizer.step()
    copied, reloaded = copy.deepcopy(made), build(tied=True, seed=3)
    reloaded.load_state_dict(made.state_dict())
    assert tied(made)
    assert tied(copied)
    assert tied(reloaded)
    assert torch.equal(copied.to(torch.float64).float()(batch()).x_hat, made(batch()).x_hat)
    assert torch.equal(reloaded(batch()).x_hat, made(batch()).x_hat)


def test_a_tied_gradient_is_the_sum_of_both_uses() -> None:
    tied, free = build(hidden_sizes=[], tied=True), build(hidden_sizes=[])
    with torch.no_grad():
        free.encoder[1].weight.copy_(tied.encoder[1].weight)  # type: ignore[index]
        free.decoder[0].weight.copy_(tied.encoder[1].weight.t())  # type: ignore[index]
    for model in (tied, free):
        model(batch()).x_hat.square().sum().backward()
    both = free.encoder[1].weight.grad + free.decoder[0].weight.grad.t()  # type: ignore[index]
    assert torch.allclose(tied.encoder[1].weight.grad, both, rtol=1e-5, atol=1e-6)  # type: ignore[index]


@pytest.mark.parametrize("tied", [False, True])
def test_unit_norm_decoder_holds_through_training(tied: bool) -> None:
    made = build(unit_norm_decoder=True, tied=tied)
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        made(batch()).x_hat.square().sum().backward()
        optimizer.step()
    for layer in made.layers:
        up = next(m for m in layer.decoder.modules() if hasattr(m, "weight"))
        assert isinstance(up.weight, Tensor)
        norms = up.weight.norm(dim=0)
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-6)


def test_with_unit_norm_a_smaller_code_is_a_smaller_reconstruction() -> None:
    """Scaling all parameters of the decoder does not scale its output."""
    made = build(hidden_sizes=[], unit_norm_decoder=True)
    before = made.atoms(6)
    with torch.no_grad():
        for parameter in made.decoder.parameters():
            parameter.mul_(10.0)
    assert torch.allclose(made.atoms(6), before, atol=1e-6)


def test_atoms_of_a_linear_decoder_are_its_columns() -> None:
    made = build(hidden_sizes=[])
    columns = made.decoder[0].weight.t()  # type: ignore[index]
    assert torch.allclose(made.atoms(99).flatten(1), columns, atol=1e-6)
    assert torch.allclose(made.atoms(2).flatten(1), columns[:2], atol=1e-6)


def test_layers_share_their_parameters_with_the_whole() -> None:
    made = build(hidden_sizes=[10, 8])
    x = batch()
    codes = x
    for layer in made.layers:
        codes = layer.encode(codes)
    assert torch.equal(codes, made.encode(x))
    for layer in reversed(made.layers):
        codes = layer.decode(codes)
    assert torch.equal(codes, made(x).x_hat)
    assert sum(count(layer) for layer in made.layers) == count(made)


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("glorot_uniform", math.sqrt(2 / (400 + 200))),
        ("glorot_normal", math.sqrt(2 / (400 + 200))),
        ("he_uniform", math.sqrt(2 / 400)),
        ("he_normal", math.sqrt(2 / 400)),
        ("lecun_normal", math.sqrt(1 / 400)),
        ("torch_default", math.sqrt(1 / 3 / 400)),
    ],
)
def test_initial_weights_have_their_published_spread(init: str, std: float) -> None:
    made = build(DataShape((400,), None), hidden_sizes=[], n_latents=200, init=init)
    weight, bias = (parameter.detach() for parameter in made.encoder.parameters())
    assert float(weight.std()) == pytest.approx(std, rel=0.02)
    assert bool((bias != 0).any()) == (init == "torch_default")
    if init.endswith("uniform"):
        assert float(weight.abs().max()) <= std * math.sqrt(3) + 1e-6


def test_expansion_factor() -> None:
    assert build(n_latents=None, expansion_factor=2.0).n_latents == 48


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_latents": None}, "give a number for one of them"),
        ({"expansion_factor": 2.0}, "give a number for one of them"),
        ({"hidden_activations": ["relu", "selu"]}, "one for each of the 1 hidden layers"),
        ({"hidden_activations": []}, "one for each of the 1 hidden layers"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(**options)
