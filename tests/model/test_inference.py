"""Inference of codes against scikit-learn's solvers, and the energy along the way."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.model.inference import INFERENCES, Inference, energy, shrink
from sae_cli.model.penalties import PENALTIES
from sae_cli.model.penalties.activity import L1, L2, SquaredTarget
from sae_cli.model.penalties.penalty import ExamplePenalty
from sae_cli.model.proximal import gradient_of_squares, largest_eigenvalue
from tests.conftest import slow

SIZES = [(12, 30), (30, 12)]  # features and latents: over- and undercomplete


@final
class Cauchy(ExamplePenalty):
    """``sum_j log(1 + z_j^2)``, a penalty without a proximal step."""

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.square().log1p().sum(1)


def problem(n_features: int = 12, n_latents: int = 30, batch: int = 9) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(n_features, n_latents))
    atoms /= np.linalg.norm(atoms, axis=0)
    return torch.from_numpy(rng.normal(size=(batch, n_features))), torch.from_numpy(atoms)


def start_of(x: Tensor, dictionary: Tensor, scale: float = 0.0) -> Tensor:
    rng = np.random.default_rng(1)
    return scale * torch.from_numpy(rng.normal(size=(len(x), dictionary.shape[1])))


def inference(name: str, n_steps: int = 20_000, **options: Any) -> Inference:
    section = {
        **{"name": name, "n_steps": n_steps, "non_negative": False},
        **{"prediction_weight": 0.0, "follow_encoder": False},
    } | options
    made = INFERENCES.build(INFERENCES.check(section))
    assert made is not None
    return made


@pytest.mark.parametrize("scale", [3.0, *slow([0.0])])
@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["ista", "fista"])
def test_l1_codes_are_those_of_scikit_learn(
    name: str, size: tuple[int, int], non_negative: bool, scale: float
) -> None:
    """Start at zero or anywhere; scikit-learn divides its squares by twice the features."""
    x, dictionary = problem(*size)
    d = dictionary.numpy()
    solver = Lasso(
        **{"alpha": 0.2 / len(d), "positive": non_negative, "fit_intercept": False},
        **{"tol": 1e-14, "max_iter": 1_000_000},
    )
    expected = np.stack([solver.fit(d, example).coef_ for example in x.numpy()])
    start = start_of(x, dictionary, scale)
    found = inference(name, non_negative=non_negative)(x, dictionary, start, L1(weight=0.4))
    assert np.abs(found.numpy() - expected).max() < 1e-4


def test_l2_codes_are_those_of_the_normal_equations() -> None:
    x, dictionary = problem()
    d = dictionary.numpy()
    expected = np.linalg.solve(d.T @ d + 0.3 * np.eye(30), d.T @ x.numpy().T).T
    found = inference("fista", 500)(x, dictionary, start_of(x, dictionary), L2(weight=0.3))
    assert np.abs(found.numpy() - expected).max() < 1e-9


def test_without_a_penalty_it_is_least_squares() -> None:
    x, dictionary = problem(30, 12)
    expected = np.linalg.lstsq(dictionary.numpy(), x.numpy().T, rcond=None)[0].T
    found = inference("ista", 500)(x, dictionary, start_of(x, dictionary, 1.0), None)
    assert np.abs(found.numpy() - expected).max() < 1e-9


def test_codes_that_follow_the_encoder_are_drawn_to_its_prediction() -> None:
    """Least squares of both: ``(D'D + w I) z = D'x + w start``."""
    x, dictionary = problem(30, 12)
    start, d = start_of(x, dictionary, 1.0), dictionary.numpy()
    right = d.T @ x.numpy().T + 0.7 * start.numpy().T
    expected = np.linalg.solve(d.T @ d + 0.7 * np.eye(12), right).T
    following = inference("ista", 500, prediction_weight=0.7, follow_encoder=True)
    assert np.abs(following(x, dictionary, start, None).numpy() - expected).max() < 1e-9
    free = inference("ista", 500, prediction_weight=0.7)
    assert np.abs(free(x, dictionary, start, None).numpy() - expected).max() > 0.1


def test_the_energy_against_numpy() -> None:
    x, dictionary = problem()
    codes, start = start_of(x, dictionary, 1.0), start_of(x, dictionary, 0.5)
    z = codes.numpy()
    squares = ((x.numpy() - z @ dictionary.numpy().T) ** 2).sum(1)
    expected = squares + 0.4 * np.abs(z).sum(1) + 0.3 * ((z - start.numpy()) ** 2).sum(1)
    found = energy(x, dictionary, codes, L1(weight=0.4), start, 0.3)
    assert np.allclose(found.numpy(), expected)


def energies(made: Inference, penalty: ExamplePenalty, scale: float) -> Tensor:
    """The energies after each step, and before: ``(1 + n_steps, batch)``."""
    x, dictionary = problem()
    start = start_of(x, dictionary, scale)
    steps = made.steps(x, dictionary, start, penalty)
    return torch.stack([made.energy(x, dictionary, z, start, penalty) for z in steps])


@pytest.mark.parametrize("non_negative", [False, True])
@pytest.mark.parametrize("scale", [0.0, 3.0])
@pytest.mark.parametrize("penalty", [L1(weight=0.4), L2(weight=0.4), Cauchy(weight=3.0)])
def test_ista_never_raises_the_energy(
    penalty: ExamplePenalty, scale: float, non_negative: bool
) -> None:
    made = inference("ista", 100, non_negative=non_negative)
    found = energies(made, penalty, scale)
    assert len(found) == 101
    assert bool((found.diff(dim=0) <= 1e-12).all())
    assert bool((found[-1] < found[0]).all())


def test_fista_keeps_its_bound_and_is_ahead_of_ista() -> None:
    """Beck and Teboulle 2009, theorem 4.4: ``E_k - E* <= 2 L |z_0 - z*|^2 / (k + 1)^2``."""
    penalty, (x, dictionary) = L1(weight=0.1), problem()
    start = start_of(x, dictionary)
    best = inference("fista", 5000)(x, dictionary, start, penalty)
    gaps = {
        name: energies(inference(name, 60), penalty, 0.0) - energy(x, dictionary, best, penalty)
        for name in ("ista", "fista")
    }
    lipschitz = 2 * np.linalg.eigvalsh(dictionary.numpy() @ dictionary.numpy().T)[-1] * 1.02
    k = torch.arange(61)[:, None]
    bound = 2 * lipschitz * best.square().sum(1) / (k + 1) ** 2
    assert bool((gaps["fista"] <= bound)[1:].all())
    assert bool((gaps["fista"][60] < gaps["ista"][60] / 4).all())


@pytest.mark.parametrize("size", [(5, 3), (64, 64), (40, 300), (1, 1), (20, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_bound_of_the_largest_eigenvalue_is_tight(
    size: tuple[int, int], dtype: torch.dtype
) -> None:
    dictionary = problem(*size)[1]
    true = np.linalg.norm(dictionary.numpy(), 2) ** 2
    found = float(largest_eigenvalue(dictionary.to(dtype) * 1e3)) / 1e6
    assert true * (1 - 1e-6) <= found <= true * 1.03


def test_a_dictionary_of_zeros_gives_zeros() -> None:
    x, dictionary = problem()
    start = start_of(x, dictionary, 1.0)
    assert not inference("ista", 2)(x, 0 * dictionary, start, L1(weight=0.1)).any()


@pytest.mark.parametrize("size", SIZES)
def test_both_forms_of_the_gradient_are_those_of_autograd(size: tuple[int, int]) -> None:
    x, dictionary = problem(*size)
    codes = start_of(x, dictionary, 1.0).requires_grad_()
    (expected,) = torch.autograd.grad((x - codes @ dictionary.t()).square().sum(), codes)
    for n_uses in (1, 10_000):
        found = gradient_of_squares(x, dictionary, n_uses)(codes.detach())
        assert torch.allclose(found, expected)


@pytest.mark.parametrize("name", ["ista", "fista"])
def test_single_precision_no_gradient_the_same_numbers_again(name: str) -> None:
    x, dictionary = problem()
    made, penalty = inference(name, 30), L1(weight=0.4)
    start = start_of(x, dictionary)
    exact = made(x, dictionary, start, penalty)
    single = dictionary.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = made(x.float(), single, start.bfloat16(), penalty)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.allclose(found.double(), exact, atol=1e-5)
    assert torch.equal(found, made(x.float(), single, start.float(), penalty))


def test_without_a_proximal_step_codes_go_against_the_gradient() -> None:
    codes, step = start_of(*problem(), 1.0), torch.linspace(0.1, 0.5, 9)[:, None].double()
    moved = shrink(Cauchy(weight=0.4), codes, step, codes)
    assert torch.allclose(moved, codes - step * 0.4 * 2 * codes / (1 + codes**2))
    assert bool((Cauchy(weight=0.4).per_example(moved) < (codes**2).log1p().sum(1)).all())


def test_fista_refuses_a_penalty_without_an_exact_proximal_step() -> None:
    lateral = PENALTIES.build({"name": "lateral", "weight": 1.0, "block_size": 1})
    with pytest.raises(ConfigError, match="penalty=lateral has none; choose inference=ista"):
        inference("fista").check("lateral", lateral)
    inference("fista").check("l1", L1(weight=0.1))
    inference("ista").check("lateral", lateral)


@pytest.mark.parametrize("name", ["ista", "fista"])
def test_a_penalty_of_a_mean_over_examples_is_refused(name: str) -> None:
    bent = SquaredTarget(weight=1.0, target=0.1, divide_by_batch_size=False)
    with pytest.raises(ConfigError, match="needs a penalty of each example; choose penalty=l1"):
        inference(name).check("squared_target", bent)


@pytest.mark.parametrize("name", ["ista", "fista"])
@pytest.mark.parametrize("penalty", [L1(weight=1.0), Cauchy(weight=1.0)])
def test_nothing_is_read_back_from_the_device(name: str, penalty: ExamplePenalty) -> None:
    """Tensors on the meta device have no values to read."""
    made = inference(name, 3, non_negative=True, prediction_weight=1.0, follow_encoder=True)
    with torch.device("meta"):
        x, dictionary, start = torch.zeros(4, 12), torch.zeros(12, 30), torch.zeros(4, 30)
    steps = list(made.steps(x, dictionary, start, penalty))
    assert [codes.shape for codes in steps] == [(4, 30)] * 4
