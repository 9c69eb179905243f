"""Gated and nested sparse auto-encoders: losses and gradients against equations written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli import load_run
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import Training, build_training
from sae_cli.core.errors import ConfigError
from sae_cli.runs.train import train
from tests.conftest import Configure

X = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
LATENTS = ("architecture.n_latents=12", "device=cpu")


@pytest.fixture
def built(tmp_path: Path, configure: Configure) -> Any:
    """Trainings on ``X``, in float64, with parameters that are not zero."""

    def build(*overrides: str) -> Training:
        np.save(tmp_path / "x.npy", X.numpy())
        path = f"dataset.path={tmp_path / 'x.npy'}"
        config = configure(*LATENTS, "dataset=array", path, *overrides)
        training = build_training(config, build_parts(config), read_dataset(config))
        training.network.saved.double()
        training.objective.double()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in training.autoencoder.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        return training

    return build


def parameters_of(training: Training) -> dict[str, Tensor]:
    """Copies to differentiate by: the atoms as they are before they are scaled to unit norm."""
    return {
        name: value.detach().clone().requires_grad_()
        for name, value in training.autoencoder.named_parameters()
    }


def compare(training: Training, loss: Tensor, given: dict[str, Tensor], x: Tensor) -> None:
    """Compare the loss and its gradients with those of the objective in training."""
    terms = training.objective(training.autoencoder(x, training=True), x)
    assert float(terms["loss"].detach()) == pytest.approx(float(loss.detach()), rel=1e-9)
    own = dict(training.autoencoder.named_parameters())
    found = torch.autograd.grad(terms["loss"], list(own.values()))
    expected = torch.autograd.grad(loss, [given[name] for name in own])
    for one, other in zip(found, expected, strict=True):
        assert one.abs().sum() > 0
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5, rtol=1e-7)


RAW = "decoder.0.parametrizations.weight.original"


def test_gated_is_the_equation_of_the_paper(built: Any) -> None:
    training = built("model=gated", "penalty.weight=0.7")
    given, x = parameters_of(training), X.double()
    raw, b = given[RAW], given["decoder.0.bias"]
    w, gate_bias = given["encoder.2.weight"], given["encoder.2.bias"]
    r, magnitude_bias = given["activation.log_scale"], given["activation.magnitude_bias"]
    d = raw / raw.square().sum(0).sqrt()
    gates = (x - b) @ w.T + gate_bias
    # W_mag = exp(r) W_gate, row by row.
    magnitudes = (x - b) @ (r.exp()[:, None] * w).T + magnitude_bias
    codes = torch.heaviside(gates.detach(), torch.zeros(()).double()) * magnitudes.clamp_min(0.0)
    error = (x - codes @ d.T - b).square().sum(1).mean()
    by_gates = (x - gates.clamp_min(0.0) @ d.detach().T - b.detach()).square().sum(1).mean()
    sparse = gates.clamp_min(0.0).sum(1).mean()
    compare(training, error + 0.7 * sparse + by_gates, given, x)
    passed = training.autoencoder(x)
    np.testing.assert_allclose(passed.codes.detach().numpy(), codes.detach().numpy(), atol=1e-12)
    assert list(training.objective.term_names[-2:]) == ["gate", "gate_raw"]


def test_a_run_without_gates_has_no_such_term(built: Any) -> None:
    assert "gate" not in built("model=jumprelu").objective.term_names


@pytest.mark.parametrize("codes", ["batch_topk", "topk"])
@pytest.mark.parametrize("prefixes", [[0.1, 0.25, 0.5], [2, 7], [0.3, 10], []])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nested_is_the_mean_over_prefixes(
    built: Any, codes: str, prefixes: list[float], reduction: str
) -> None:
    training = built(
        *("model=matryoshka", "revival=none", f"activation={codes}", "activation.k=3"),
        *(f"reconstruction.prefixes={prefixes}", f"reconstruction.reduction={reduction}"),
    )
    given, x = parameters_of(training), X.double()
    raw, b = given[RAW], given["decoder.0.bias"]
    d = raw / raw.square().sum(0).sqrt()
    pre_codes = (x - b) @ given["encoder.2.weight"].T + given["encoder.2.bias"]
    if codes == "topk":
        least = pre_codes.sort(1).values[:, [-3]]
    else:
        least = pre_codes.flatten().sort().values[-3 * len(x)]
    kept = torch.where(pre_codes >= least, pre_codes, 0.0).clamp_min(0.0)
    widths = [*(int(12 * one) if one < 1 else one for one in prefixes), 12]
    errors = [(x - kept[:, :m] @ d[:, :m].T - b).square().sum(1).mean() for m in widths]
    loss = sum(errors[1:], errors[0]) / len(widths) / (1 if reduction == "sum" else 5)
    compare(training, loss, given, x)


def test_the_first_latents_reconstruct_by_themselves(configure: Configure, tmp_path: Path) -> None:
    """Trained for it, a prefix leaves less of the data unexplained than that of a plain one."""
    left = {}
    for loss in ("nested", "mse"):
        config = configure(
            *("model=matryoshka", "revival=none", "epochs=5", "pictures=false", "activation.k=6"),
            *(f"reconstruction={loss}", "reconstruction.reduction=sum"),
        )
        data = read_dataset(config)
        train(config, tmp_path / loss, [])
        run = load_run(tmp_path / loss)
        x = data.test.values(data.test.rows)
        codes = run.encode(x).clone()
        codes[:, codes.shape[1] // 8 :] = 0.0
        left[loss] = float((run.decode(codes) - x).square().sum())
    assert left["nested"] < 0.7 * left["mse"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("model=gated", "architecture=dense"), "activation=gated needs .*; choose architecture="),
        (("model=topk", "penalty=gate"), "penalty=gate needs gates.*choose activation=gated"),
        (("model=conv", "reconstruction=nested"), "a decoder of one linear layer"),
        (
            ("model=sparse_kl", "architecture.output_activation=sigmoid", "reconstruction=nested"),
            "architecture.output_activation=identity",
        ),
        (("model=matryoshka", "reconstruction.prefixes=[0.5,0.2]"), "do not increase"),
        (("model=matryoshka", "reconstruction.prefixes=[12]"), "less than all of them"),
        (("model=matryoshka", "reconstruction.prefixes=[2.5]"), "neither a share"),
        (("model=matryoshka", "reconstruction.prefixes=[0]"), "greater than 0"),
    ],
)
def test_what_does_not_fit(built: Any, overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        built(*overrides)
