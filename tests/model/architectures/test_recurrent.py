"""Recurrent auto-encoders against an LSTM written out in NumPy."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, UNIT, DataShape
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.activations.pointwise import activations_within
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.architectures.recurrent import FromSequences, Lstm, ToSequences
from sae_cli.model.autoencoder import AutoEncoder

OPTIONS: dict[str, Any] = {
    "name": "recurrent",
    "hidden_sizes": [7, 6],
    "n_latents": 4,
    "output_activation": "sigmoid",
}
SHAPE = DataShape((2, 5, 3), None)


def build(
    shape: DataShape = SHAPE, activation: str = "identity", seed: int = 0, **options: Any
) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    code = ACTIVATIONS.build({"name": activation, "active_above": 0.0})
    return ARCHITECTURES.build(section, shape, code, Generator().manual_seed(seed))


def count_trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def batch(shape: DataShape = SHAPE, n: int = 3) -> Tensor:
    return torch.rand((n, *shape.input_shape), generator=Generator().manual_seed(9))


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-x)))


def lstm(x: NDArray[Any], layer: Lstm) -> NDArray[Any]:
    """Compute ``(batch, steps, n_out)`` of ``(batch, steps, n_in)``, one gate after the other."""
    kernel, recurrent, bias, _ = (p.detach().double().numpy() for p in layer.parameters())
    h = c = np.zeros((len(x), recurrent.shape[1]))
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel.T + h @ recurrent.T + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def test_the_whole_network_against_numpy() -> None:
    made, x = build(activation="selu"), batch()
    lstms = [module for module in made.modules() if isinstance(module, Lstm)]
    assert [layer.lstm.hidden_size for layer in lstms] == [7, 6, 4, 6, 7]
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1 and parameter.requires_grad:
                parameter.normal_(generator=Generator().manual_seed(3))
    # A step is a row of both channels.
    rows = np.concatenate([x[:, 0].numpy(), x[:, 1].numpy()], axis=2).astype(np.float64)
    for layer in lstms[:3]:
        rows = lstm(rows, layer)
    last = rows[:, -1]
    codes = 1.05070098 * np.where(last > 0, last, 1.67326324 * (np.exp(last) - 1))
    np.testing.assert_allclose(made.encode(x).detach().numpy(), codes, atol=1e-6)
    out = np.repeat(codes[:, None], 5, axis=1)
    for layer in lstms[3:]:
        out = lstm(out, layer)
    (dense,) = (module for module in made.modules() if isinstance(module, nn.Linear))
    assert dense.bias is not None
    weight, bias = dense.weight.detach().numpy(), dense.bias.detach().numpy()
    steps = sigmoid(out @ weight.T + bias)
    wanted = np.stack([steps[:, :, :3], steps[:, :, 3:]], axis=1)
    np.testing.assert_allclose(made(x).x_hat.detach().numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("activation", activations_within(REALS))
def test_contract(activation: str, tmp_path: Path) -> None:
    """Shapes; a gradient for every trained parameter; saving and loading to the bit; the seed's
    numbers."""
    made = build(activation=activation)
    passed = made(batch())
    assert passed.codes.shape == passed.pre_codes.shape == (3, 4)
    assert passed.x_hat.shape == passed.pre_x_hat.shape == (3, 2, 5, 3)
    assert made.layers == ()
    ((passed.x_hat - batch()).square().mean() + passed.codes.sum()).backward()
    for parameter in made.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad

    safetensors.torch.save_file(made.state_dict(), tmp_path / "model.safetensors")
    other = build(activation=activation, seed=1)
    assert not torch.equal(other(batch()).x_hat, passed.x_hat)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(batch()).x_hat, passed.x_hat)
    assert torch.equal(build(activation=activation)(batch()).x_hat, passed.x_hat)
    moved = copy.deepcopy(made).to(torch.float64).float()
    assert torch.equal(moved(batch()).x_hat, passed.x_hat)


def test_the_parameters_of_the_books_network() -> None:
    """A cell has four gates of input, state and one bias: 4 n (n_in + n + 1)."""

    def cells(n_in: int, n: int) -> int:
        return 4 * n * (n_in + n + 1)

    made = build(DataShape((1, 28, 28), 10), hidden_sizes=[100], n_latents=30)
    assert count_trained(made.encoder) == cells(28, 100) + cells(100, 30) == 67_320
    assert count_trained(made.decoder) == cells(30, 100) + 28 * 101 == 55_228


def test_initial_weights_are_those_of_keras() -> None:
    kernel, recurrent, bias, second = Lstm(40, 30, Generator().manual_seed(0)).parameters()
    # Glorot's limit is that of the whole matrix: 40 rows in, four gates of 30 out.
    limit = math.sqrt(6 / (40 + 4 * 30))
    assert float(kernel.detach().abs().max()) == pytest.approx(limit, rel=1e-3)
    assert float(kernel.detach().std()) == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert torch.allclose(recurrent.t() @ recurrent, torch.eye(30), atol=1e-5)
    assert bias.tolist() == [0.0] * 30 + [1.0] * 30 + [0.0] * 60
    assert not second.any()
    assert not second.requires_grad


def test_rows_are_steps_and_back() -> None:
    x = batch()
    sequences = ToSequences()(x)
    assert sequences.shape == (3, 5, 6)
    assert torch.equal(sequences[1, 2], torch.cat([x[1, 0, 2], x[1, 1, 2]]))
    assert torch.equal(FromSequences(SHAPE.input_shape)(sequences), x)
    assert torch.equal(ToSequences()(x[:, 0]), x[:, 0])
    assert torch.equal(FromSequences((5, 3))(x[:, 0]), x[:, 0])


def test_sequences_without_an_axis_of_channels() -> None:
    x = batch(DataShape((5, 3), None))
    plain, with_axis = build(DataShape((5, 3), None)), build(DataShape((1, 5, 3), None))
    assert torch.equal(plain(x).x_hat, with_axis(x.unsqueeze(1)).x_hat.squeeze(1))


class _Pairs(Activation):
    """The sum of the two pre-codes of a latent."""

    name, interval, active_above, pre_codes_per_latent = "pairs", UNIT, 0.0, 2

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        one, other = pre_codes.chunk(2, 1)
        return one + other


def test_several_pre_codes_for_each_latent() -> None:
    section = ARCHITECTURES.check(OPTIONS)
    made = ARCHITECTURES.build(section, SHAPE, _Pairs(), Generator().manual_seed(0))
    passed = made(batch())
    assert passed.pre_codes.shape == (3, 8)
    assert passed.codes.shape == (3, 4)


def test_on_the_meta_device_nothing_is_drawn() -> None:
    generator = Generator().manual_seed(0)
    before = generator.get_state()
    with torch.device("meta"):
        section = ARCHITECTURES.check(OPTIONS)
        code = ACTIVATIONS.build({"name": "identity", "active_above": 0.0})
        made = ARCHITECTURES.build(section, SHAPE, code, generator)
    assert all(parameter.is_meta for parameter in made.parameters())
    assert torch.equal(generator.get_state(), before)


def test_data_and_options_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"has shape \(60,\), without rows; choose"):
        build(DataShape((60,), None))
    with pytest.raises(ConfigError, match=r"architecture.hidden_sizes"):
        build(hidden_sizes=[])
