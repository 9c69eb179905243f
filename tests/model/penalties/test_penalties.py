"""Penalties against NumPy formulas, published values and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from sae_cli.config.conf_folder import CONF
from sae_cli.core.errors import ConfigError
from sae_cli.model.activations.gated import Gated
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.penalties import PENALTIES, Penalty
from sae_cli.model.penalties.activity import KL, L1, L2, SquaredTarget
from sae_cli.model.penalties.penalty import ExamplePenalty
from sae_cli.model.penalties.roles import for_network
from tests.model.sparse import small

CODES = np.random.default_rng(0).uniform(0.01, 0.99, (7, 5))


def kl(target: float = 0.1) -> KL:
    return KL(weight=1.0, target=target, divide_by_batch_size=False)


def squared_target(target: float = 0.1) -> SquaredTarget:
    return SquaredTarget(weight=1.0, target=target, divide_by_batch_size=False)


def bernoulli_kl(p: float, q: np.ndarray) -> float:
    return float(np.sum(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (L1(weight=1.0), np.abs(CODES).sum(1).mean()),
        (L2(weight=1.0), (CODES**2).sum(1).mean()),
        (kl(), bernoulli_kl(0.1, CODES.mean(0))),
        (kl(0.7), bernoulli_kl(0.7, CODES.mean(0))),
        (squared_target(), ((CODES.mean(0) - 0.1) ** 2).sum()),
    ],
)
def test_against_numpy(penalty: Penalty, expected: float) -> None:
    assert float(penalty(torch.from_numpy(CODES))) == pytest.approx(expected, rel=1e-12)


def test_l1_takes_magnitudes() -> None:
    assert float(L1(weight=1.0)(torch.tensor([[-1.0, 2.0], [0.0, -3.0]]))) == 3.0


@pytest.mark.parametrize(
    ("target", "mean", "value"),
    [(0.1, 0.1, 0.0), (0.1, 0.5, 0.36806), (0.1, 0.2, 0.03669), (0.1, 0.15, 0.01090)],
)
def test_published_values_of_the_kl(target: float, mean: float, value: float) -> None:
    assert float(kl(target).of_mean(torch.tensor([mean]).double())) == pytest.approx(
        value, abs=5e-6
    )


def test_the_squared_distance_is_flatter_than_the_kl() -> None:
    mean = torch.tensor([0.3]).double()
    assert float(squared_target().of_mean(mean)) == pytest.approx(0.04)
    assert float(kl().of_mean(mean)) == pytest.approx(0.1163, abs=5e-5)


@pytest.mark.parametrize("mean", [1e-4, 0.01, 0.1, 0.5, 0.99, 1 - 1e-4])
@pytest.mark.parametrize("penalty", [kl(), squared_target()])
def test_gradient_by_finite_differences(penalty: Penalty, mean: float) -> None:
    at = torch.tensor([mean], dtype=torch.float64, requires_grad=True)
    penalty.of_mean(at).backward()  # type: ignore[no-untyped-call]
    step = 1e-8
    with torch.no_grad():
        difference = penalty.of_mean(at + step) - penalty.of_mean(at - step)
    assert at.grad is not None
    assert float(at.grad) == pytest.approx(float(difference) / (2 * step), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("mean", [0.0, 1e-12, 1.0 - 1e-12, 1.0])
def test_the_kl_stays_finite_at_the_ends(mean: float) -> None:
    codes = torch.full((4, 3), mean, requires_grad=True)
    value = kl()(codes)
    value.backward()
    assert torch.isfinite(value)
    assert codes.grad is not None
    assert bool(torch.isfinite(codes.grad).all())


@pytest.mark.parametrize("name", [name for name in PENALTIES.names if name != "none"])
def test_every_penalty_is_a_function_of_a_mean_over_examples(name: str) -> None:
    """An evaluation in pieces gives the same as one of the whole."""
    penalty = PENALTIES.build(yaml.safe_load((CONF / "penalty" / f"{name}.yaml").read_text()))
    assert penalty is not None
    activation = Gated() if name == "gate" else JumpReLU(threshold=0.4, bandwidth=0.1)
    model = small(activation, n_latents=64).requires_grad_(False)
    penalty = for_network(penalty, model)
    assert penalty is not None
    codes = torch.rand(7, 64).double()
    penalty.double().requires_grad_(False)
    pieces = [penalty.per_example(part) for part in torch.split(codes, 3)]
    mean = torch.cat(pieces).sum(0) / len(codes)
    assert float(penalty.of_mean(mean)) == pytest.approx(float(penalty(codes)))


@pytest.mark.parametrize("step", [0.3, torch.linspace(0.1, 0.7, 7)[:, None].double()])
@pytest.mark.parametrize("penalty", [L1(weight=0.8), L2(weight=0.8)])
def test_a_proximal_step_minimises_its_definition(penalty: L1 | L2, step: float | Tensor) -> None:
    """Search a fine grid for the least ``|z - a|^2 / (2 step) + weight * penalty(z)``."""
    codes = torch.from_numpy(CODES) - 0.5
    grid = torch.linspace(-1.0, 1.0, 20001).double()
    found = penalty.shrink(codes, step)
    each = grid.abs() if isinstance(penalty, L1) else grid.square()
    steps = torch.as_tensor(step).expand(len(codes), 1)[..., None]
    costs = (grid - codes[..., None]).square() / (2 * steps) + 0.8 * each
    assert torch.allclose(found, grid[costs.argmin(-1)], atol=1e-4)


def test_the_penalty_of_each_example_is_that_of_a_batch_of_one() -> None:
    codes = torch.from_numpy(CODES)
    for penalty in (L1(weight=1.0), L2(weight=1.0)):
        alone = torch.stack([penalty(code[None]) for code in codes])
        assert torch.allclose(penalty.per_example(codes), alone)


class Summed(ExamplePenalty):
    """A slip: the sum over latents is one over examples, too."""

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.abs().sum()


def test_a_penalty_without_an_axis_of_examples() -> None:
    with pytest.raises(ConfigError, match=r"Summed gives values of shape \(\) for 5 examples"):
        Summed(weight=1.0)(torch.ones(5, 3))
