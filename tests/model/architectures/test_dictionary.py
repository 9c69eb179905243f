"""Dictionaries: a linear decoder, with no encoder or one of one layer to predict its codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Generator, Tensor

from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.inference import Inference
from sae_cli.model.penalties.activity import L1

OPTIONS: dict[str, Any] = {
    "n_latents": 20,
    "expansion_factor": None,
    "unit_norm_decoder": True,
    "init": "glorot_uniform",
}
SHAPE = DataShape((2, 3, 4), None)
NAMES = ["dictionary", "predictive_dictionary"]


def build(name: str, activation: str = "identity", seed: int = 0, **options: Any) -> AutoEncoder:
    section = ARCHITECTURES.check({"name": name} | OPTIONS | options)
    code = ACTIVATIONS.build({"name": activation, "active_above": 0.0})
    return ARCHITECTURES.build(section, SHAPE, code, Generator().manual_seed(seed))


def batch(n: int = 5) -> Tensor:
    return torch.rand((n, *SHAPE.input_shape), generator=Generator().manual_seed(9))


@pytest.mark.parametrize("unit_norm_decoder", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, unit_norm_decoder: bool, tmp_path: Path) -> None:
    """Shapes; saving and loading to the bit; the seed's numbers; a linear decoder."""
    made = build(name, unit_norm_decoder=unit_norm_decoder)
    passed = made(batch())
    assert passed.codes.shape == (5, 20)
    assert passed.x_hat.shape == (5, 2, 3, 4)
    codes = torch.rand(5, 20)
    atoms = made.atoms(20)
    expected = torch.einsum("bn,nchw->bchw", codes, atoms)
    assert torch.allclose(made.decode(codes), expected, atol=1e-5)
    norms = atoms.flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.ones(20), atol=1e-6) == unit_norm_decoder

    safetensors.torch.save_file(made.state_dict(), tmp_path / "model.safetensors")
    other = build(name, seed=1, unit_norm_decoder=unit_norm_decoder)
    assert not torch.equal(other.decode(codes), made.decode(codes))
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(other.decode(codes), made.decode(codes))
    again = build(name, unit_norm_decoder=unit_norm_decoder)
    assert torch.equal(again.decode(codes), made.decode(codes))


def test_a_dictionary_alone_predicts_nothing() -> None:
    made = build("dictionary")
    assert not made.encode(batch()).any()
    assert [name for name, _ in made.named_parameters()] == [
        "decoder.0.parametrizations.weight.original"
    ]
    assert build("dictionary", n_latents=None, expansion_factor=2.0).n_latents == 48


def test_a_prediction_against_numpy() -> None:
    made = build("predictive_dictionary")
    with torch.no_grad():
        made.encoder[1].gains.uniform_(1, 2)  # type: ignore[index]
    g, w, d = (p.detach().numpy() for p in made.encoder.parameters())
    expected = g * np.tanh(batch().flatten(1).numpy() @ w.T + d)
    assert np.allclose(made.encode(batch()).detach().numpy(), expected, atol=1e-5)


def test_predictions_come_near_the_inferred_codes_as_they_are_learned() -> None:
    """The energy is lower at the inferred codes than at the predicted ones, but less and less so,
    and the inferred codes reconstruct better in the end."""
    made = build("predictive_dictionary")
    generator = Generator().manual_seed(2)
    sparse = torch.rand(256, 12, generator=generator).sub(0.7).clamp_min(0)
    x = (sparse @ torch.randn(12, 24, generator=generator)).reshape(256, 2, 3, 4)
    follow, penalty = Inference(True, 50, False, 1.0, True), L1(weight=0.1)
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    gaps, losses = [], []
    for _ in range(200):
        predicted = made.encode(x)
        dictionary = made.atoms(20).flatten(1).t()
        codes = follow(x.flatten(1), dictionary, predicted, penalty)
        energies = [
            follow.energy(x.flatten(1), dictionary, at, predicted, penalty).mean().detach()
            for at in (predicted, codes)
        ]
        gaps.append(float(energies[0] - energies[1]))
        loss = (made.decode(codes) - x).square().flatten(1).sum(1).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        total = loss + (predicted - codes).square().sum(1).mean()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert min(gaps) > 0
    assert gaps[-1] < gaps[0] / 3
    assert losses[-1] < losses[0] / 3
    norms = made.atoms(20).flatten(1).norm(dim=1)
    assert torch.allclose(norms, torch.ones(20), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        code = ACTIVATIONS.build({"name": "identity", "active_above": 0.0})
        section = {"name": name} | OPTIONS
        made = ARCHITECTURES.build(section, DataShape((1,), None), code, Generator())
    assert made.n_latents == 20
