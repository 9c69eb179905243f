"""L-BFGS against the dense formula of BFGS, SciPy's minima and the conditions of its search."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import line_search as peer_search
from scipy.optimize import minimize, rosen, rosen_der
from torch import Tensor, nn

from sae_cli.training.optimizers import OPTIMIZERS
from sae_cli.training.optimizers.lbfgs import LBFGS, iterations_of
from sae_cli.training.optimizers.line_search import FALL, FLATTEN, MOST_TRIALS, Trial, search

Floats = NDArray[np.float64]
SECTION = {"name": "lbfgs", "learning_rate": 1.0, "iterations": 5, "history": 10}


def build(parameters: list[nn.Parameter], **options: Any) -> LBFGS:
    section = OPTIMIZERS.check({**SECTION, "weight_decay": 0.0, **options})
    made = OPTIMIZERS.build(section, parameters)
    assert isinstance(made, LBFGS)
    return made


def parameters_at(x: Floats) -> list[nn.Parameter]:
    """Two parameters of different shapes that together are ``x``."""
    flat = torch.from_numpy(x.copy())
    return [nn.Parameter(flat[:2].clone().reshape(2, 1)), nn.Parameter(flat[2:].clone())]


def vector(parameters: list[nn.Parameter]) -> Floats:
    return np.concatenate([own.detach().numpy().ravel() for own in parameters])


def closure(
    parameters: list[nn.Parameter],
    value: Callable[[Floats], float] = rosen,
    slope: Callable[[Floats], Floats] = rosen_der,
) -> Callable[[], tuple[dict[str, Tensor], list[Tensor]]]:
    def evaluate() -> tuple[dict[str, Tensor], list[Tensor]]:
        x = vector(parameters)
        gradient = torch.from_numpy(slope(x))
        loss = torch.tensor(value(x), dtype=torch.float64)
        return {"loss": loss}, [gradient[:2].reshape(2, 1), gradient[2:]]

    return evaluate


START = np.array([1.2, 0.5, 0.7, -0.4, 1.3, 0.2])


def test_it_comes_to_the_minimum_that_scipy_finds() -> None:
    own = parameters_at(START)
    optimizer, evaluate = build(own), closure(own)
    losses = [float(optimizer.iterate(evaluate, 1.0)["loss"]) for _ in range(80)]
    theirs = minimize(rosen, START, jac=rosen_der, method="L-BFGS-B", options={"ftol": 1e-15})
    np.testing.assert_allclose(vector(own), theirs.x, atol=1e-4)
    assert losses[-1] < 1e-10
    assert all(after <= before for before, after in pairwise(losses))


def test_weight_decay_is_half_the_sum_of_squares() -> None:
    own = parameters_at(START)
    optimizer = build(own, weight_decay=0.3)
    for _ in range(80):
        terms = optimizer.iterate(closure(own), 1.0)
    decayed = minimize(lambda x: rosen(x) + 0.15 * x @ x, START, method="BFGS", tol=1e-9)
    np.testing.assert_allclose(vector(own), decayed.x, atol=1e-4)
    assert float(terms["loss"]) == pytest.approx(rosen(vector(own)))


@pytest.mark.parametrize("history", [3, 100])
def test_its_direction_is_that_of_the_dense_formula(history: int) -> None:
    """BFGS of the last pairs, from the identity times their scale (Nocedal and Wright 2006, 6.17
    and 7.20)."""
    own = parameters_at(START)
    optimizer, evaluate = build(own, history=history), closure(own)
    points, gradients = [vector(own)], [rosen_der(vector(own))]
    for _ in range(5):
        optimizer.iterate(evaluate, 1.0)
        points.append(vector(own))
        gradients.append(rosen_der(points[-1]))
    steps, changes = np.diff(points, axis=0), np.diff(gradients, axis=0)
    assert ((steps * changes).sum(1) > 0).all()
    last_step, last_change = steps[-1], changes[-1]
    inverse = np.eye(6) * (last_step @ last_change) / (last_change @ last_change)
    for s, y in [*zip(steps, changes, strict=True)][-history:]:
        rest = np.eye(6) - np.outer(s, y) / (s @ y)
        inverse = rest @ inverse @ rest.T + np.outer(s, s) / (s @ y)
    optimizer.iterate(evaluate, 1.0)
    direction = -inverse @ gradients[-1]
    moved = vector(own) - points[-1]
    cosine = moved @ direction / np.linalg.norm(moved) / np.linalg.norm(direction)
    assert cosine == pytest.approx(1.0, abs=1e-9)


def test_a_restored_state_goes_on_to_the_bit() -> None:
    whole, halves = parameters_at(START), parameters_at(START)
    one, first = build(whole), build(halves)
    for _ in range(7):
        first.iterate(closure(halves), 1.0)
    saved = copy.deepcopy(first.state_dict())
    second = build(halves)
    second.load_state_dict(saved)
    for _ in range(16):
        one.iterate(closure(whole), 1.0)
    for _ in range(9):
        second.iterate(closure(halves), 1.0)
    assert vector(whole).tobytes() == vector(halves).tobytes()


def test_where_nothing_is_lower_it_stays() -> None:
    own = parameters_at(np.ones(6))
    terms = build(own).iterate(closure(own), 1.0)
    assert vector(own).tolist() == [1.0] * 6
    assert float(terms["loss"]) == 0.0


def test_a_value_that_is_not_finite_is_stepped_back_from() -> None:
    """The logarithm is not a number beyond 0, and the first length goes there."""
    w = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))

    def evaluate() -> tuple[dict[str, Tensor], list[Tensor]]:
        return {"loss": (w - w.log() * 0.1).detach().sum()}, [(1.0 - 0.1 / w).detach()]

    optimizer = build([w])
    for _ in range(20):
        optimizer.iterate(evaluate, 30.0)
    assert float(w.detach()) == pytest.approx(0.1, abs=1e-6)


FUNCTIONS: list[tuple[Callable[[float], float], Callable[[float], float]]] = [
    (lambda t: (t - 3.0) ** 2, lambda t: 2.0 * (t - 3.0)),
    (lambda t: -t / (t * t + 2.0), lambda t: (t * t - 2.0) / (t * t + 2.0) ** 2),
    (
        lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
        lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3,
    ),
    (lambda t: math.cos(3.0 * t) - 0.2 * t, lambda t: -3.0 * math.sin(3.0 * t) - 0.2),
]


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_the_search_satisfies_the_strong_conditions_of_wolfe(number: int, first: float) -> None:
    """The second and third function are of Moré and Thuente (1994)."""
    value, slope = FUNCTIONS[number]
    tried: list[float] = []

    def at(length: float) -> Trial:
        tried.append(length)
        return Trial(length, value(length), slope(length), torch.zeros(1), {})

    found = search(at, Trial(0.0, value(0.0), slope(0.0), torch.zeros(1), {}), first)
    assert found.length in tried and len(tried) <= MOST_TRIALS
    assert found.value <= value(0.0) + FALL * found.length * slope(0.0)
    assert abs(found.slope) <= FLATTEN * abs(slope(0.0))
    assert (
        peer_search(
            lambda x: value(x[0]), lambda x: np.array([slope(x[0])]), np.zeros(1), np.ones(1)
        )[0]
        is not None
    )


def test_who_takes_the_whole_set() -> None:
    assert iterations_of({**SECTION}) == 5
    assert iterations_of({"name": "adam"}) is None
