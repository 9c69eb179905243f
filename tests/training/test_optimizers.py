"""Optimizers against their update rules in NumPy; learning rates at chosen steps."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, nn

from sae_cli.core.errors import ConfigError
from sae_cli.training.gradients.autograd import lay_out
from sae_cli.training.lr_schedules import LR_SCHEDULES
from sae_cli.training.moving import Move, move_all
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer
from tests.contracts.small import page_of

MOMENTS = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
ADAM = {"learning_rate": 0.1, **MOMENTS, "weight_decay": 0.0}


def train(section: dict[str, Any], steps: int = 5) -> list[float]:
    """Give the parameter after each step on the loss (w - 3)^2 / 2, from w = 1."""
    w = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = OPTIMIZERS.build(OPTIMIZERS.check(section), [w])
    assert isinstance(optimizer, Optimizer)
    path = []
    for _ in range(steps):
        optimizer.step([w.detach() - 3], section["learning_rate"])
        path.append(float(w.detach()))
    return path


@pytest.mark.parametrize(
    ("section", "peer"),
    [
        ({"name": "sgd", "momentum": 0.0}, torch.optim.SGD),
        ({"name": "sgd", "momentum": 0.9}, torch.optim.SGD),
        ({"name": "adam", **MOMENTS}, torch.optim.Adam),
        ({"name": "adamw", **MOMENTS}, torch.optim.AdamW),
        ({"name": "nadam", **MOMENTS}, torch.optim.NAdam),
        ({"name": "rmsprop", "alpha": 0.9, "eps": 1e-8, "momentum": 0.0}, torch.optim.RMSprop),
        ({"name": "rmsprop", "alpha": 0.9, "eps": 1e-8, "momentum": 0.5}, torch.optim.RMSprop),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_against_the_classes_of_torch(section: dict[str, Any], peer: Any) -> None:
    """They agree from a state saved half way, and with a learning rate that changes."""
    section = section | {"learning_rate": 0.1, "weight_decay": 0.01}
    start = [torch.rand(3, 2, generator=Generator().manual_seed(i)) for i in range(2)]
    own, others = ([nn.Parameter(p.clone()) for p in start] for _ in range(2))
    options = {key: value for key, value in section.items() if key not in {*MOMENTS, "name"}}
    if "beta1" in section:
        options |= {"betas": (section["beta1"], section["beta2"]), "eps": section["eps"]}
    options["lr"] = options.pop("learning_rate")
    theirs = peer(others, **options, **({"eps": 1e-8} if section["name"] == "rmsprop" else {}))
    optimizer = OPTIMIZERS.build(OPTIMIZERS.check(section), own)
    assert isinstance(optimizer, Optimizer)
    for step in range(6):
        if step == 3:
            saved = copy.deepcopy(optimizer.state_dict())
            optimizer = OPTIMIZERS.build(OPTIMIZERS.check(section), own)
            optimizer.load_state_dict(saved)
            assert isinstance(optimizer, Optimizer)
        gradients = [torch.sin(p.detach() * (step + 1)) for p in own]
        for other, gradient in zip(others, gradients, strict=True):
            other.grad = gradient.clone()
        theirs.param_groups[0]["lr"] = 0.1 / (1 + step)
        theirs.step()
        optimizer.step(gradients, 0.1 / (1 + step))
    for one, other in zip(own, others, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)


OF_STEPS = [name for name in OPTIMIZERS.names if name != "lbfgs"]


def of_steps(options: dict[str, Any], parameters: list[nn.Parameter]) -> Optimizer:
    built = OPTIMIZERS.build(OPTIMIZERS.check(options), parameters)
    assert isinstance(built, Optimizer)
    return built


@pytest.mark.parametrize("name", OF_STEPS)
def test_a_parameter_with_a_rate_of_its_own_moves_as_if_alone_with_it(name: str) -> None:
    """Three parameters with two rates, against three optimizers with a learning rate each."""
    rates = [1.0, 0.1, 1.0]
    options = page_of(f"optimizer/{name}.yaml") | {"learning_rate": 0.1}
    whole, alone = ([nn.Parameter(torch.full((2,), i + 1.0)) for i in range(3)] for _ in range(2))
    optimizer = of_steps(options, whole)
    optimizer.rates = rates
    singles = [of_steps(options, [one]) for one in alone]
    for step in range(3):
        gradients = [torch.sin(p.detach() + step) for p in whole]
        for single, gradient, rate in zip(singles, gradients, rates, strict=True):
            single.step([gradient.clone()], 0.1 * rate)
        optimizer.step(gradients, 0.1)
    assert all(map(torch.equal, whole, alone))
    together = [nn.Parameter(torch.full((2,), i + 1.0)) for i in range(3)]
    other = of_steps(options, together)
    other.rates = rates
    for step in range(3):
        gradients = [torch.sin(p.detach() + step) for p in together]
        move_all([Move(other, gradients, 0.1)])
    assert all(map(torch.equal, whole, together))


def test_gradients_are_laid_out_as_their_parameters() -> None:
    """Otherwise fused optimizers would read another matrix."""
    parameter, transposed = torch.zeros(3, 2), torch.arange(6.0).reshape(2, 3).t()
    as_it_was, copied = lay_out([torch.ones(3, 2), transposed], [parameter, parameter])
    assert copied.stride() == parameter.stride()
    assert torch.equal(copied, transposed)
    assert torch.equal(as_it_was, torch.ones(3, 2))


def test_no_optimizer_imports_the_compiler() -> None:
    """The import takes longer than a short training."""
    code = (
        "import sys, torch; from torch import nn;"
        "from sae_cli.training.optimizers import OPTIMIZERS;"
        "w = nn.Parameter(torch.ones(3));"
        f"o = OPTIMIZERS.build({ {'name': 'adam', **ADAM}!r}, [w]);"
        "o.step([torch.ones(3)], 0.1);"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_sgd_with_momentum_and_weight_decay() -> None:
    w, velocity, expected = 1.0, 0.0, []
    for _ in range(5):
        velocity = 0.9 * velocity + (w - 3) + 0.01 * w
        w -= 0.1 * velocity
        expected.append(w)
    options = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    assert train({"name": "sgd", **options}) == pytest.approx(expected)


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
    assert train({"name": name, **ADAM, "weight_decay": 0.01}) == pytest.approx(expected)


def test_rmsprop() -> None:
    w, v, expected = 1.0, 0.0, []
    for _ in range(5):
        gradient = w - 3
        v = 0.9 * v + 0.1 * gradient**2
        w -= 0.1 * gradient / (math.sqrt(v) + 1e-8)
        expected.append(w)
    options = {"learning_rate": 0.1, "alpha": 0.9, "eps": 1e-8, "momentum": 0.0}
    assert train({"name": "rmsprop", **options, "weight_decay": 0.0}) == pytest.approx(expected)


def test_nadam_looks_ahead_of_adam() -> None:
    """The momentum of the next step makes its first step longer than Adam's."""
    nadam, adam = train({"name": "nadam", **ADAM}), train({"name": "adam", **ADAM})
    assert nadam[0] > adam[0] == pytest.approx(1.1)
    assert train({"name": "nadam", **ADAM}, 400)[-1] == pytest.approx(3.0, abs=1e-3)


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
