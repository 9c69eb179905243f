"""Logarithms of logistic probabilities against SciPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_expit

from sae_cli.model.logistic import log_probabilities

LOGITS = np.concatenate(
    [np.random.default_rng(0).normal(0, scale, 1000) for scale in (0.01, 1, 5, 20)]
).astype(np.float32)


def test_small_ones_are_as_exact_as_large_ones() -> None:
    logs, right = log_probabilities(torch.from_numpy(LOGITS)), LOGITS.astype(float)
    # What vanishes in float32 counts for nothing.
    np.testing.assert_allclose(logs.on, log_expit(right), rtol=3e-7, atol=1e-30)
    np.testing.assert_allclose(logs.off, log_expit(-right), rtol=3e-7, atol=1e-30)


@pytest.mark.parametrize("at_least", [None, np.log(1e-7)])
def test_the_likelihood_of_targets_against_numpy(at_least: float | None) -> None:
    target = np.random.default_rng(1).uniform(0, 1, LOGITS.shape).astype(np.float32)
    target[:9], target[-9:] = 0.0, 1.0
    bound = -np.inf if at_least is None else at_least
    on, off = (np.maximum(log_expit(sign * LOGITS.astype(float)), bound) for sign in (1, -1))
    found = log_probabilities(torch.from_numpy(LOGITS)).likelihood(
        torch.from_numpy(target), at_least
    )
    np.testing.assert_allclose(found, target * on + (1 - target) * off, rtol=1e-6, atol=1e-30)


def test_logits_without_bound_give_no_nan() -> None:
    logs = log_probabilities(torch.tensor([-1e30, 1e30, -200.0, 200.0]))
    assert logs.on.tolist() == pytest.approx([-1e30, 0.0, -200.0, 0.0])
    assert logs.off.tolist() == pytest.approx([0.0, -1e30, 0.0, -200.0])
