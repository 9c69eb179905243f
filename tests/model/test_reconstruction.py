"""Reconstruction losses against NumPy formulas and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from sae_cli.model.autoencoder import Pass
from sae_cli.model.reconstruction import BCE, MSE

RNG = np.random.default_rng(0)
TARGET = RNG.uniform(0, 1, (5, 1, 3, 4))
LOGITS = RNG.normal(0, 2, TARGET.shape)
P = 1 / (1 + np.exp(-LOGITS))
PASSED = Pass(torch.empty(0), torch.empty(0), torch.from_numpy(LOGITS), torch.from_numpy(P))
WANTED = torch.from_numpy(TARGET)


def test_mse() -> None:
    squares = (P - TARGET) ** 2
    assert float(MSE(reduction="mean")(PASSED, WANTED)) == pytest.approx(squares.mean())
    assert float(MSE(reduction="sum")(PASSED, WANTED)) == pytest.approx(squares.sum() / 5)


def test_bce() -> None:
    entropy = -(TARGET * np.log(P) + (1 - TARGET) * np.log1p(-P))
    assert float(BCE(reduction="mean")(PASSED, WANTED)) == pytest.approx(entropy.mean())
    assert float(BCE(reduction="sum")(PASSED, WANTED)) == pytest.approx(entropy.sum() / 5)


def test_bce_of_black_and_white_targets_is_the_log_loss() -> None:
    white = (TARGET > 0.5).astype(float)
    loss = BCE(reduction="mean")(PASSED, torch.from_numpy(white))
    assert float(loss.detach()) == pytest.approx(log_loss(white.ravel(), P.ravel()))


def test_bce_of_extreme_logits_is_finite() -> None:
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = BCE(reduction="mean")(
        Pass(logits, logits, logits, logits.sigmoid()), torch.tensor([[1.0, 0.0]])
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(200.0)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
