"""Optimizers against their update rules in NumPy; learning rates at chosen steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sae_cli.optimizers import LR_SCHEDULES, OPTIMIZERS
from sae_cli.registry import ConfigError

ADAM = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0}


def trained(section: dict[str, Any], steps: int = 5) -> list[float]:
    """The parameter after each step on the loss (w - 3)^2 / 2, from w = 1."""
    w = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = OPTIMIZERS.build(OPTIMIZERS.check(section), [w])
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        ((w - 3).square() / 2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        path.append(float(w.detach()))
    return path


def test_sgd_with_momentum_and_weight_decay() -> None:
    w, velocity, expected = 1.0, 0.0, []
    for _ in range(5):
        velocity = 0.9 * velocity + (w - 3) + 0.01 * w
        w -= 0.1 * velocity
        expected.append(w)
    options = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    assert trained({"name": "sgd", **options}) == pytest.approx(expected)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_and_adamw(decoupled: bool) -> None:
    w, m, v, expected = 1.0, 0.0, 0.0, []
    for t in range(1, 6):
        gradient = (w - 3) + (0.0 if decoupled else 0.01 * w)
        if decoupled:
            w -= 0.1 * 0.01 * w
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.99**t)) + 1e-8)
        expected.append(w)
    name = "adamw" if decoupled else "adam"
    assert trained({"name": name, **ADAM, "weight_decay": 0.01}) == pytest.approx(expected)


def test_rmsprop() -> None:
    w, v, expected = 1.0, 0.0, []
    for _ in range(5):
        gradient = w - 3
        v = 0.9 * v + 0.1 * gradient**2
        w -= 0.1 * gradient / (math.sqrt(v) + 1e-8)
        expected.append(w)
    options = {"learning_rate": 0.1, "alpha": 0.9, "eps": 1e-8, "momentum": 0.0}
    assert trained({"name": "rmsprop", **options, "weight_decay": 0.0}) == pytest.approx(expected)


def test_nadam_looks_ahead_of_adam() -> None:
    """Its first step is longer than Adam's, by the momentum of the step to come."""
    nadam, adam = trained({"name": "nadam", **ADAM}), trained({"name": "adam", **ADAM})
    assert nadam[0] > adam[0] == pytest.approx(1.1)
    assert trained({"name": "nadam", **ADAM}, 400)[-1] == pytest.approx(3.0, abs=1e-3)


def factors(total: int = 11, **section: Any) -> np.ndarray:
    schedule = LR_SCHEDULES.build(LR_SCHEDULES.check(section), total)
    return np.array([schedule(step) for step in range(total)])


def test_constant() -> None:
    np.testing.assert_allclose(factors(name="constant", warmup_steps=0), 1.0)


def test_warm_up_rises_in_equal_steps_to_the_full_rate() -> None:
    found = factors(name="constant", warmup_steps=3)
    np.testing.assert_allclose(found[:5], [0.25, 0.5, 0.75, 1.0, 1.0])


def test_cosine_falls_from_one_to_its_final_share() -> None:
    found = factors(name="cosine", warmup_steps=0, final=0.2)
    np.testing.assert_allclose(found[[0, 5, 10]], [1.0, 0.6, 0.2])
    assert (np.diff(found) < 0).all()


def test_linear_decay_starts_where_told() -> None:
    found = factors(name="linear_decay", warmup_steps=0, start=0.5, final=0.0)
    np.testing.assert_allclose(found, [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0], atol=1e-12)


@pytest.mark.parametrize("name", LR_SCHEDULES.names)
def test_a_warm_up_longer_than_the_stage_is_refused(name: str) -> None:
    section: dict[str, Any] = {"name": name, "warmup_steps": 11}
    for key in LR_SCHEDULES.schema(name).model_fields:
        section.setdefault(key, 0.0)
    with pytest.raises(ConfigError, match="must be below the 11 steps"):
        factors(**section)
