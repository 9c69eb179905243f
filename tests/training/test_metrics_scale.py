"""Metrics against NumPy in float64, at every scale of the data, of networks as they begin."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import log_expit
from torch import nn

from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.datasets import Split
from sae_cli.model.autoencoder import Pass
from sae_cli.training.loop import evaluate
from sae_cli.training.metrics import BASELINE_BATCH, Baseline, Metrics
from tests.conftest import Configure

Array = npt.NDArray[Any]

LOGISTIC = ("architecture.output_activation=sigmoid", "reconstruction=bce")
MODELS = [
    *(("ae",), ("linear",), ("conv",), ("recurrent",), ("sparse_kl",), ("sparse_l1",), ("vae",)),
    *(("sparse_coding",), ("ae", *LOGISTIC), ("conv", *LOGISTIC)),
]
SCALES = (1e-30, 1e-10, 1.0, 1e10, 1e30)
# Batches of an evaluation are larger, so one pass of a split is that of the evaluation.
N = 300
CPU = torch.device("cpu")


def cases() -> dict[str, Array]:
    """Images in 0..1, times each scale, and beside a column of seconds since 1970."""
    x = np.random.default_rng(0).uniform(0, 1, (N, 1, 8, 8))
    found = {f"{scale:g}": (x * scale).astype(np.float32) for scale in SCALES}
    found["timestamp"] = found["1"].copy()
    found["timestamp"][:, 0, 0, 0] = 1.7e9
    return found


def reference(target: Array, x_hat: Array, codes: Array, above: float) -> dict[str, float]:
    """Every metric by its formula, of float64 copies."""
    t, made, z = (array.reshape(len(array), -1).astype(float) for array in (target, x_hat, codes))
    error = np.square(made - t)
    active = np.abs(z) > above
    found = {
        "mse": error.mean(),
        "fvu": error.sum() / np.square(t - t.mean(0)).sum(),
        "l0": active.sum(1).mean(),
        "mean_activity": z.mean(),
        "dead_latents": (~active.any(0)).sum(),
    }
    if t.min() >= 0.0 and t.max() <= 1.0:
        p = made.clip(0.0, 1.0)
        with np.errstate(divide="ignore"):
            on, off = (np.maximum(one, np.log(1e-7)) for one in (np.log(p), np.log1p(-p)))
            floor = -np.where(t > 0, t * np.log(np.where(t > 0, t, 1.0)), 0.0)
            floor -= np.where(t < 1, (1 - t) * np.log1p(-np.where(t < 1, t, 0.0)), 0.0)
        found["bce"] = -(t * on + (1 - t) * off).mean()
        found["bce_excess"] = found["bce"] - floor.mean()
        found["rounded_accuracy"] = ((made > 0.5) == (t > 0.5)).mean()
    return found


def assert_same(found: dict[str, float], right: dict[str, float]) -> None:
    for name, value in right.items():
        # An excess is a difference of two numbers of the size of the cross-entropy.
        size = right["bce"] if name == "bce_excess" else value
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6 * abs(size)), name


@pytest.mark.parametrize("page", MODELS, ids=" ".join)
def test_an_evaluation_is_right_at_every_scale(
    page: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", cases()["1"])
    of_data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}")
    config = configure(f"model={page[0]}", *page[1:], *of_data)
    training = prepare(config, build_parts(config)).training
    autoencoder, device, data = training.autoencoder, training.device, training.dataset
    for (case, values), own in product(cases().items(), (data.train, data.val, data.test)):
        split = replace(own, stored=torch.from_numpy(values).to(device.torch))
        baseline = Baseline.of(split.batches(BASELINE_BATCH))
        found = evaluate(autoencoder, training.objective, split, baseline, device)
        x = split.values(split.rows)
        with torch.no_grad():
            passed = device.run(autoencoder, x)
        target, x_hat, codes = (one.cpu().numpy() for one in (x, passed.x_hat, passed.codes))
        assert np.isfinite(x_hat).all() and np.isfinite(codes).all(), case
        right = reference(target, x_hat, codes, autoencoder.activation.active_above)
        if LOGISTIC[1] in page and "bce" in right:
            n = target[0].size if config.parts["reconstruction"]["reduction"] == "sum" else 1
            right["reconstruction"] = n * right["bce"]
        assert_same(found, right)


def test_a_confident_error_has_the_cross_entropy_of_its_logit(configure: Configure) -> None:
    """Of a probability near 1, float32 knows the rest to 1 less well than of its logit."""
    config = configure("model=ae", *LOGISTIC)
    training = prepare(config, build_parts(config)).training
    autoencoder, device, data = training.autoencoder, training.device, training.dataset
    last = [one for one in autoencoder.decoder.modules() if isinstance(one, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(15.0)
    split = replace(data.val, stored=torch.zeros_like(data.val.tensor))
    baseline = Baseline.of(split.batches(BASELINE_BATCH))
    found = evaluate(autoencoder, training.objective, split, baseline, device)
    assert found["bce"] == pytest.approx(-log_expit(-15.0), rel=1e-7)
    n = 64 if config.parts["reconstruction"]["reduction"] == "sum" else 1
    assert found["reconstruction"] == pytest.approx(-n * log_expit(-15.0), rel=1e-7)


def of_batches(target: Array, x_hat: Array, batch: int = 7) -> dict[str, float]:
    """Metrics of these reconstructions; the codes do not matter."""
    wanted, made = (torch.split(torch.from_numpy(array), batch) for array in (target, x_hat))
    metrics = Metrics(Baseline.of(wanted), 1, 0.0, CPU)
    for one, other in zip(made, wanted, strict=True):
        codes = torch.ones(len(one), 1)
        metrics.update(Pass(codes, codes, one, one), other)
    return metrics.result()


@pytest.mark.parametrize("scale", [1e-36, 1e-22, 1e-19, 1e18, 1e30, 1e37])
@pytest.mark.parametrize("beside", [None, 1.7e9, 3e38])
def test_good_reconstructions_beside_a_constant_column(scale: float, beside: float | None) -> None:
    """The column is reconstructed exactly, so the others alone count."""
    generator = np.random.default_rng(1)
    target = generator.normal(0, scale, (60, 5)).astype(np.float32)
    x_hat = (target * generator.normal(1, 0.01, target.shape)).astype(np.float32)
    if beside is not None:
        target[:, 2] = x_hat[:, 2] = beside
    assert_same(of_batches(target, x_hat), reference(target, x_hat, np.ones((60, 1)), 0.0))


def test_rare_ones_have_their_cross_entropy() -> None:
    """Most probabilities are so small that 1 - p is 1 in float32."""
    target = np.eye(60, 4000, dtype=np.float32)
    x_hat = (0.9 * target + 3e-8).astype(np.float32)
    assert_same(of_batches(target, x_hat), reference(target, x_hat, np.ones((60, 1)), 0.0))


@pytest.mark.parametrize("value", [0.1, 1.7e9, 1e-30, 3e38])
def test_rows_that_are_all_alike_have_no_variance(value: float) -> None:
    """No rounding of sums of 0.1 makes them differ."""
    rows = np.linspace(0.3, 1.0, 12, dtype=np.float32) * np.float32(value)
    target = np.tile(rows, (50, 1))
    assert Baseline.of(torch.split(torch.from_numpy(target), 7)).variation == 0.0
    assert np.isnan(of_batches(target, target * np.float32(0.5))["fvu"])


def test_what_is_not_finite_is_not_hidden() -> None:
    target = np.ones((5, 2), np.float32)
    target[0] = 0.0
    for broken in (np.inf, np.nan):
        x_hat = target.copy()
        x_hat[3, 1] = broken
        assert not np.isfinite(of_batches(target, x_hat)["mse"])


def test_the_rows_of_a_split_alone_count() -> None:
    stored = torch.tensor([[1e30], [1.0], [2.0], [1e-30]])
    split = Split(stored, torch.tensor([1, 2]))
    assert Baseline.of(split.batches(1)).variation == 0.5
