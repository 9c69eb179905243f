"""Unrolled sparse coding: its start is ISTA; norm bounds; angles of its parts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Generator, Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, DataShape
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.activations.pointwise import activations_within
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.architectures.unrolled import UnrolledEncoder
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.inference import INFERENCES
from sae_cli.model.layers import MaxNorm
from sae_cli.model.penalties.activity import L1
from sae_cli.pictures.latents.angles import part_angles

OPTIONS: dict[str, Any] = {
    "name": "unrolled",
    "n_latents": 20,
    "expansion_factor": None,
    "n_steps": 5,
    "l1_weight": 0.1,
    "max_decoder_norm": 1.0,
    "max_encoder_norm": 1.25,
    "init": "glorot_uniform",
}
SHAPE = DataShape((2, 3, 4), None)


def build(activation: str = "relu", seed: int = 0, **options: Any) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    code = ACTIVATIONS.build({"name": activation, "active_above": 0.0})
    return ARCHITECTURES.build(section, SHAPE, code, Generator().manual_seed(seed))


def encoder_of(made: AutoEncoder) -> UnrolledEncoder:
    assert isinstance(made.encoder, UnrolledEncoder)
    return made.encoder


def dictionary_of(made: AutoEncoder) -> Tensor:
    return made.atoms(made.n_latents).flatten(1).t()


def batch(n: int = 5) -> Tensor:
    return torch.rand((n, *SHAPE.input_shape), generator=Generator().manual_seed(9))


@pytest.mark.parametrize("activation", activations_within(REALS))
@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_contract(activation: str, n_steps: int, tmp_path: Path) -> None:
    """Shapes; gradients; saving and loading to the bit; the seed's numbers."""
    made = build(activation, n_steps=n_steps)
    passed = made(batch())
    assert passed.codes.shape == passed.pre_codes.shape == (5, 20)
    assert passed.x_hat.shape == (5, 2, 3, 4)
    ((passed.x_hat - batch()).square().mean() + passed.codes.sum()).backward()
    unused = {"encoder.interactions.weight"} if n_steps == 1 else set()
    assert {name for name, p in made.named_parameters() if p.grad is None} == unused

    safetensors.torch.save_file(made.state_dict(), tmp_path / "model.safetensors")
    other = build(activation, seed=1, n_steps=n_steps)
    assert not torch.equal(other(batch()).x_hat, passed.x_hat)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other(batch()).x_hat, passed.x_hat)
    again = build(activation, n_steps=n_steps)
    assert torch.equal(again(batch()).x_hat, passed.x_hat)


@pytest.mark.parametrize("max_encoder_norm", [None, 1.25])
@pytest.mark.parametrize("n_steps", [1, 3, 11])
def test_the_start_is_as_many_steps_of_ista(n_steps: int, max_encoder_norm: float | None) -> None:
    """NumPy takes the steps ``z <- max(0, z + a (D'(x - D z) - weight / 2))``."""
    made = build(n_steps=n_steps, max_encoder_norm=max_encoder_norm).double()
    encoder = encoder_of(made)
    encoder.set_from_dictionary_(dictionary_of(made), 0.1)
    d, e = dictionary_of(made).numpy(), encoder.filters.weight.detach().numpy()
    step = np.linalg.norm(e[0]) / np.linalg.norm(d[:, 0])
    longest = 1 / np.linalg.norm(d, 2) ** 2
    if max_encoder_norm and n_steps > 1:
        longest = min(longest, max_encoder_norm / (n_steps - 1) / np.linalg.norm(d, axis=0).max())
    assert 0.97 * longest <= step <= longest * (1 + 1e-9)
    codes, x = np.zeros((5, 20)), batch().flatten(1).double().numpy()
    for _ in range(n_steps):
        codes = np.maximum(0, codes + step * ((x - codes @ d.T) @ d - 0.05))
    assert np.abs(made.encode(batch().double()).detach().numpy() - codes).max() < 1e-6


@pytest.mark.parametrize("n_steps", [1, 3, 11])
def test_the_start_is_the_inference_of_the_package(n_steps: int) -> None:
    made = build(n_steps=n_steps, max_encoder_norm=None).double()
    dictionary, x = dictionary_of(made), batch().double()
    encoder_of(made).set_from_dictionary_(dictionary, 0.1)
    ista = INFERENCES.build(
        {
            **{"name": "ista", "n_steps": n_steps, "non_negative": True},
            **{"prediction_weight": 0.0, "follow_encoder": False},
        }
    )
    assert ista is not None
    expected = ista(x.flatten(1), dictionary, torch.zeros(5, 20).double(), L1(weight=0.1))
    assert torch.allclose(made.encode(x), expected, atol=1e-6, rtol=0)


def test_one_step_is_a_dense_encoder() -> None:
    made = build(n_steps=1)
    encoder = encoder_of(made)
    dense = torch.relu(batch().flatten(1) @ encoder.filters.weight.t() - encoder.threshold)
    assert torch.allclose(made.encode(batch()), dense)
    assert not hasattr(encoder.filters, "parametrizations")


def test_norms_stay_bounded_through_training() -> None:
    made = build(n_steps=5)
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (made(batch()).x_hat - 9 * batch()).square().sum().backward()
        optimizer.step()
    assert float(encoder_of(made).filters.weight.detach().norm(dim=1).max()) <= 1.25 / 4 * (
        1 + 1e-6
    )
    assert float(dictionary_of(made).norm(dim=0).max()) <= 1 + 1e-6


@pytest.mark.parametrize("dim", [0, 1])
def test_a_norm_bound_against_numpy(dim: int) -> None:
    weight = np.random.default_rng(0).normal(size=(6, 4))
    weight[2] = 0.0
    norms = np.linalg.norm(weight, axis=dim, keepdims=True)
    expected = np.where(norms > 1.5, weight * 1.5 / np.maximum(norms, 1e-9), weight)
    leaf = torch.from_numpy(weight).requires_grad_()
    found = MaxNorm(1.5, dim)(leaf)
    assert np.allclose(found.detach().numpy(), expected)
    found.sum().backward()
    assert leaf.grad is not None
    assert bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-22, 1e-18, 1e-3])
def test_the_bound_of_a_vanishing_weight_has_the_derivative_of_the_identity(size: float) -> None:
    """Weight decay brings the weights of latents that never fire this far down."""
    leaf = torch.full((2, 3), size).requires_grad_()
    MaxNorm(1.25, 1)(leaf).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.ones(2, 3))


def test_interactions_are_stored_as_their_difference_from_the_identity() -> None:
    """S has eigenvalues of 1, where the dictionary sees nothing, and none that are negative."""

    made = build(n_latents=30, max_encoder_norm=None).double()
    encoder, dictionary = encoder_of(made), dictionary_of(made)
    encoder.set_from_dictionary_(dictionary, 0.1)
    eigenvalues = torch.linalg.eigvalsh(torch.eye(30) + encoder.interactions.weight.detach())
    assert float(eigenvalues.max()) == pytest.approx(1.0)
    assert float(eigenvalues.min()) >= -1e-12


def test_angles_of_parts() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-2.0, 0.0]])
    columns = torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    expected = torch.tensor([0.0, math.pi / 4, math.pi])
    assert torch.allclose(part_angles(rows, columns), expected, atol=1e-4)
    made = build()
    filters = encoder_of(made).filters.weight.detach()
    angles = part_angles(filters, dictionary_of(made))
    assert float(angles.max()) < 1e-2


def test_an_activation_with_two_pre_codes_for_each_code_is_refused() -> None:
    activation = ACTIVATIONS.build({"name": "relu", "active_above": 0.0})
    activation.pre_codes_per_latent = 2
    with pytest.raises(ConfigError, match=r"one pre-code for each.*choose activation=relu"):
        ARCHITECTURES.build(OPTIONS, SHAPE, activation, Generator())
