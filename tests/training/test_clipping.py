"""Clipped gradients: against PyTorch's own, NumPy's norm and a plain training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Generator, Tensor, nn

from sae_cli.results.saved_config import read_config
from sae_cli.runs.train import train
from sae_cli.training.update import clip
from tests.conftest import SMALL, Configure
from tests.training.test_step import Calls, make_step, no_hidden_reads

GIVEN = ("model=sparse_l1", "pictures=false", "device=cpu", *SMALL)


def gradients(scale: float = 1.0) -> list[Tensor]:
    drawn = Generator().manual_seed(0)
    shapes = ((7, 5), (7,), (3, 2, 4), ())
    return [torch.randn(shape, generator=drawn) * scale for shape in shapes]


@pytest.mark.parametrize("bound", [0.01, 1.0, 3.0])
def test_as_pytorch_clips(bound: float) -> None:
    given = gradients()
    parameters = [nn.Parameter(torch.zeros_like(one)) for one in given]
    for parameter, one in zip(parameters, given, strict=True):
        parameter.grad = one.clone()
    nn.utils.clip_grad_norm_(parameters, bound)
    for own, parameter in zip(clip(given, bound), parameters, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(own, parameter.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
def test_the_norm_is_bounded_and_the_direction_stays(scale: float) -> None:
    """Squares of the last scale are infinite in float32, and those of the first are 0."""
    given = np.concatenate([one.numpy().ravel() for one in gradients(scale)]).astype(np.float64)
    norm = float(np.linalg.norm(given))
    for bound in (norm / 3, norm * 3):
        clipped = np.concatenate([one.numpy().ravel() for one in clip(gradients(scale), bound)])
        wanted = given * min(1.0, bound / norm)
        np.testing.assert_allclose(clipped, wanted, rtol=1e-6)


def test_short_gradients_keep_their_bits() -> None:
    given = gradients()
    for own, one in zip(clip(given, 1e6), given, strict=True):
        assert torch.equal(own, one)
    zeros = [torch.zeros(3)]
    assert torch.equal(clip(zeros, 0.5)[0], zeros[0])


def test_a_clipped_step_reads_nothing_back(configure: Configure) -> None:
    step, data = make_step(("model=sparse_l1", "clip_norm=0.1", "device=cpu"), configure, 16)
    targets = list(data.shuffled(torch.arange(64), 16))
    with no_hidden_reads(), Calls() as calls:
        for target in targets:
            step(target, 0.01)
    assert calls.reads == 0, calls.counts
    assert calls.counts["linalg_vector_norm"] > 0


def test_only_a_bound_that_is_met_changes_a_training(configure: Configure, tmp_path: Path) -> None:
    models = {}
    for bound in ("null", "1e9", "0.01"):
        train(configure(*GIVEN, f"clip_norm={bound}"), tmp_path / bound, [])
        models[bound] = (tmp_path / bound / "model.safetensors").read_bytes()
    assert models["null"] == models["1e9"] != models["0.01"]


def test_a_configuration_of_an_earlier_version_has_no_bound(
    configure: Configure, tmp_path: Path
) -> None:
    plain = configure(*GIVEN).as_dict()
    del plain["clip_norm"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain))
    assert read_config(tmp_path / "config.yaml").settings.clip_norm is None
