"""Variational auto-encoders: the divergence, the noise, the growing weight."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from sae_cli import load_run
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.config.schema import RunConfig
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.autoencoder import Pass
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.gaussian_kl import GaussianKL
from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.train import train
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.optimizers.descent import SGD
from sae_cli.training.stage import Stage
from sae_cli.training.step import Step
from tests.conftest import SMALL, Configure

# The pre-codes are means, then logarithms of variances, of 3 latents for each of 2 examples.
PRE_CODES = torch.tensor([[0.5, -2.0, 1.0, 0.3, -1.0, -3.0], [0.0, 1.5, -0.7, 1.0, 0.5, 0.2]])
SETTINGS = ("model=vae", "architecture.hidden_sizes=[9]", "architecture.n_latents=3")
QUICK = (*SMALL, "pictures=false", "device=cpu")


def penalty(warmup_steps: int = 0, weight: float = 1.0) -> GaussianKL:
    return GaussianKL(weight=weight, warmup_steps=warmup_steps)


def gaussian() -> Activation:
    return ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0})


def test_the_divergence_against_monte_carlo() -> None:
    """It is the mean of log q(z) - log p(z) over draws of z from q."""
    random = np.random.default_rng(0)
    for mean, log_variance in zip(PRE_CODES[:, :3].numpy(), PRE_CODES[:, 3:].numpy(), strict=True):
        half = random.normal(size=(50_000, 3))
        # Each draw has its mirror image beside it, which makes the mean more exact.
        noise = np.concatenate([half, -half])
        z = mean + np.exp(log_variance / 2) * noise
        log_q = -0.5 * (noise**2 + log_variance)
        expected = (log_q + 0.5 * z**2).sum(1).mean()
        given = torch.from_numpy(np.concatenate([mean, log_variance]))[None]
        assert float(penalty()(given)) == pytest.approx(expected, rel=0.01)


def test_the_divergence_against_torch_distributions() -> None:
    mean, log_variance = PRE_CODES.chunk(2, dim=1)
    own = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(own, Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(penalty().per_example(PRE_CODES), expected, rtol=1e-5)
    assert float(penalty()(torch.zeros(4, 6))) == 0.0


def test_codes_are_drawn_from_their_distribution() -> None:
    n = 100_000
    noise = torch.randn(n, 3, generator=Generator().manual_seed(0))
    codes = gaussian()(PRE_CODES[:1].expand(n, 6), noise)
    deviation = (0.5 * PRE_CODES[0, 3:]).exp()
    # The means agree within five standard errors.
    assert ((codes.mean(0) - PRE_CODES[0, :3]).abs() < 5 * deviation / math.sqrt(n)).all()
    assert torch.allclose(codes.std(0), deviation, rtol=0.02)
    assert torch.equal(gaussian()(PRE_CODES), PRE_CODES[:, :3])


def test_the_gradient_reaches_means_and_variances() -> None:
    """By the draw, d code / d log variance = noise * deviation / 2; the slopes of the penalty are
    the mean and (variance - 1) / 2."""

    noise = torch.tensor([[1.0, -2.0, 0.5], [0.3, -0.4, 2.0]])
    leaf = PRE_CODES.clone().requires_grad_()
    mean, log_variance = PRE_CODES.chunk(2, dim=1)
    (drawn,) = torch.autograd.grad(gaussian()(leaf, noise).sum(), leaf)
    slope = noise * (0.5 * log_variance).exp() / 2
    assert torch.allclose(drawn, torch.cat([torch.ones(2, 3), slope], 1))
    (pulled,) = torch.autograd.grad(penalty().per_example(leaf).sum(), leaf)
    assert torch.allclose(pulled, torch.cat([mean, (log_variance.exp() - 1) / 2], 1), atol=1e-6)


def steps_of(config: RunConfig) -> tuple[Step, Stage]:
    """Make a step of learning rate 0, so that only the noise differs between steps."""
    made = build_parts(config)
    (stage,) = build_training(config, made, read_dataset(config)).stages
    gradients = Autograd(stage.autoencoder, stage.objective, made.device)
    optimizer = SGD(gradients.parameters, learning_rate=0.0, momentum=0.0, weight_decay=0.0)
    seed = Generator().manual_seed(config.settings.seed)
    after = stage.objective.after_step_
    return Step(gradients, optimizer, None, seed, 8, n_sampled=3, after=after), stage


def test_each_step_draws_anew_and_evaluation_does_not(configure: Configure) -> None:
    step, stage = steps_of(configure(*SETTINGS))
    x = torch.rand(8, 1, 8, 8, generator=Generator().manual_seed(0))
    errors = [step(x, 0.0)["reconstruction"].item() for _ in range(4)]
    assert len(set(errors)) == 4
    again, _ = steps_of(configure(*SETTINGS))
    assert [again(x, 0.0)["reconstruction"].item() for _ in range(4)] == errors
    first, second = stage.autoencoder(x), stage.autoencoder(x)
    assert torch.equal(first.codes, second.codes)
    assert torch.equal(first.codes, first.pre_codes[:, :3])
    assert torch.equal(first.codes, stage.autoencoder.encode(x))


def test_the_weight_grows_in_training_alone() -> None:
    """Training takes 0, 1/4, 2/4, 3/4 of it, then all; evaluation always takes all."""
    made = Objective(None, penalty(warmup_steps=4, weight=0.8))
    codes = PRE_CODES[:, :3]
    passed = Pass(PRE_CODES, codes, codes, codes)
    raw = float(penalty()(PRE_CODES))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        terms = made(passed, codes)
        assert float(terms["penalty"]) == pytest.approx(0.8 * share * raw)
        assert float(terms["penalty_raw"]) == pytest.approx(raw)
        assert float(made.terms(made.means(passed, codes))["penalty"]) == pytest.approx(0.8 * raw)
        made.after_step_()


def test_warming_up_in_a_run(configure: Configure, tmp_path: Path) -> None:
    """A tiny learning rate keeps the divergence, so that the metrics show the shares of an epoch of
    four steps (three of 32 examples, one of 1)."""

    still = "optimizer.learning_rate=1e-12"
    train(
        configure(*SETTINGS, *QUICK, "penalty.warmup_steps=8", still, "epochs=3"),
        tmp_path / "a",
        [],
    )
    lines = read_metrics(tmp_path / "a")
    assert lines[1]["train/penalty"] < 0.2 * lines[1]["train/penalty_raw"] * 0.25
    shares = [line["train/penalty"] / line["train/penalty_raw"] / 0.2 for line in lines[1:]]
    # The last example of an epoch counts for little.
    assert shares == pytest.approx([(0 + 1 + 2) / 3 / 8, (4 + 5 + 6) / 3 / 8, 1.0], rel=0.15)
    for line in lines:
        assert line["val/penalty"] == pytest.approx(0.2 * line["val/penalty_raw"])


def test_a_loaded_run_gives_the_means(configure: Configure, tmp_path: Path) -> None:
    config = configure(*SETTINGS, *QUICK)
    summary = train(config, tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    (x,) = read_dataset(config).test.batches(2000)
    codes: Tensor = run.encode(x)
    assert codes.shape == (1500, 3)
    assert torch.equal(codes, run.encode(x))
    assert summary["test/mse"] == pytest.approx(
        float((run.decode(codes) - x).square().mean()), rel=1e-5
    )
    with torch.no_grad():
        pre_codes = run.autoencoder.encoder(x)
    assert torch.equal(pre_codes[:, :3], codes)
    assert summary["test/penalty_raw"] == pytest.approx(float(penalty()(pre_codes)), rel=1e-5)
