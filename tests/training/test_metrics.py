"""Metrics of a split against NumPy and scikit-learn, for any batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score
from torch import Tensor

from sae_cli.model.autoencoder import Pass
from sae_cli.training.metrics import Baseline, Metrics

RNG = np.random.default_rng(0)
TARGET = RNG.uniform(0, 1, (50, 12)).astype(np.float32)
X_HAT = np.clip(TARGET + RNG.normal(0, 0.3, TARGET.shape), -0.1, 1.1).astype(np.float32)
CODES = np.where(RNG.uniform(size=(50, 6)) < 0.4, RNG.normal(size=(50, 6)), 0).astype(np.float32)
CODES[:, 5] = 0.05


def measure(
    batch: int, target: np.ndarray = TARGET, x_hat: np.ndarray = X_HAT, above: float = 0.1
) -> dict[str, float]:
    def batches(array: np.ndarray) -> tuple[Tensor, ...]:
        return torch.split(torch.from_numpy(array), batch)

    metrics = Metrics(Baseline.of(batches(target)), CODES.shape[1], above, torch.device("cpu"))
    for codes, made, wanted in zip(batches(CODES), batches(x_hat), batches(target), strict=True):
        metrics.update(Pass(codes, codes, made, made), wanted)
    return metrics.result()


def test_errors_against_scikit_learn() -> None:
    found = measure(7)
    assert found["mse"] == pytest.approx(mean_squared_error(TARGET, X_HAT))
    explained = r2_score(TARGET, X_HAT, multioutput="variance_weighted")
    assert found["fvu"] == pytest.approx(1 - explained)
    same = accuracy_score((TARGET > 0.5).ravel(), (X_HAT > 0.5).ravel())
    assert found["rounded_accuracy"] == pytest.approx(same)


def test_cross_entropy_against_numpy() -> None:
    t, p = TARGET.astype(float), np.clip(X_HAT.astype(float), 1e-7, 1 - 1e-7)
    bce = -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean()
    floor = -(t * np.log(t) + (1 - t) * np.log1p(-t)).mean()
    found = measure(7)
    assert found["bce"] == pytest.approx(bce, rel=1e-5)
    assert found["bce_excess"] == pytest.approx(bce - floor, rel=1e-5)


def test_a_perfect_reconstruction_reaches_the_floor() -> None:
    found = measure(50, x_hat=TARGET)
    assert found["bce_excess"] == pytest.approx(0.0, abs=1e-6)
    assert found["fvu"] == 0.0
    assert found["rounded_accuracy"] == 1.0


def test_half_counts_as_off_on_both_sides() -> None:
    half = np.full((50, 12), 0.5, np.float32)
    assert measure(50, target=half, x_hat=half - 0.1)["rounded_accuracy"] == 1.0


def test_code_metrics_against_numpy() -> None:
    found = measure(7)
    active = np.abs(CODES) > 0.1
    assert found["l0"] == pytest.approx(active.sum(1).mean())
    assert found["mean_activity"] == pytest.approx(CODES.astype(float).mean())
    assert found["dead_latents"] == 1
    assert measure(7, above=0.01)["dead_latents"] == 0


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_batch_size_makes_no_difference(batch: int) -> None:
    assert measure(batch) == pytest.approx(measure(50), rel=1e-9)


def test_metrics_of_probabilities_are_left_out_for_other_targets() -> None:
    found = measure(7, target=TARGET * 3)
    assert not {"bce", "bce_excess", "rounded_accuracy"} & set(found)


def test_fvu_of_constant_data_is_undefined() -> None:
    assert np.isnan(measure(50, target=np.full((50, 12), 0.25, np.float32))["fvu"])


def test_published_floors_of_fashion_mnist(fashion_mnist: dict[str, Tensor]) -> None:
    for name, floor in (("train", 0.24005), ("val", 0.24130), ("test", 0.24217)):
        batches = (part / 255 for part in torch.split(fashion_mnist[name], 4096))
        assert Baseline.of(batches).bce_floor == pytest.approx(floor, abs=6e-6)
