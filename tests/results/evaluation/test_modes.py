"""One cluster of angles or two: closed forms, and numbers whose clusters are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from sae_cli.results.evaluation.modes import modes_of_angles


def clusters(seed: int, apart: float, n: int = 200) -> np.ndarray:
    """A third of the numbers in a wide cluster, which is this far above the others."""
    rng = np.random.default_rng(seed)
    few = n // 3
    return np.concatenate([rng.normal(0.6, 0.1, n - few), rng.normal(0.6 + apart, 0.15, few)])


@pytest.mark.parametrize("apart", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_criterion_of_one_is_that_of_its_likelihood(seed: int, apart: float) -> None:
    x = clusters(seed, apart)
    likelihood = norm(x.mean(), x.std()).logpdf(x).sum()
    # Two numbers are fitted: mean and variance. The least variance widens it by a ten-thousandth.
    expected = 2 * math.log(len(x)) - 2 * likelihood
    assert modes_of_angles(x)["angle_bic_one"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("seed", range(2))
def test_two_clusters_are_two_modes(seed: int) -> None:
    x = clusters(seed, 1.0)
    found = modes_of_angles(x)
    # Clusters so far apart are told apart without error, and each has its own likelihood.
    parts = x[: len(x) - len(x) // 3], x[len(x) - len(x) // 3 :]
    likelihood = sum(
        (norm(part.mean(), part.std()).logpdf(part) + math.log(len(part) / len(x))).sum()
        for part in parts
    )
    expected = 5 * math.log(len(x)) - 2 * likelihood
    assert found["angle_bic_two"] == pytest.approx(expected, abs=1.0)
    assert found["angle_bic_two"] < found["angle_bic_one"] - 50 and found["angle_modes"] == 2


@pytest.mark.parametrize("seed", range(2))
def test_one_cluster_is_one_mode(seed: int) -> None:
    found = modes_of_angles(np.random.default_rng(seed).normal(0.7, 0.1, 200))
    assert found["angle_bic_one"] < found["angle_bic_two"] and found["angle_modes"] == 1


@pytest.mark.parametrize("distance, modes", [(1.8, 1), (2.6, 2)])
def test_like_normals_have_two_modes_beyond_two_deviations(distance: float, modes: int) -> None:
    """Equal shares and variances have two maxima just where their means are 2 sd apart."""
    half = norm.ppf((np.arange(500) + 0.5) / 500)
    found = modes_of_angles(np.concatenate([half, half + distance]))
    assert found["angle_modes"] == modes


def test_the_unit_of_the_angles_moves_both_criteria_alike() -> None:
    x = clusters(0, 0.45)
    degrees, radians = modes_of_angles(np.degrees(x)), modes_of_angles(x)
    for found in (degrees, radians):
        found["gain"] = found["angle_bic_one"] - found["angle_bic_two"]
    assert degrees["gain"] == pytest.approx(radians["gain"], abs=1e-4)
    assert degrees["angle_modes"] == radians["angle_modes"]


@pytest.mark.parametrize("few", [[], [0.5], [0.5, 0.6], [0.5] * 9])
def test_too_few_angles_have_no_modes(few: list[float]) -> None:
    assert modes_of_angles(np.array(few)) == {}


def test_numbers_that_repeat_keep_finite_criteria() -> None:
    found = modes_of_angles(np.array([0.5] * 9 + [1.0, 1e3]))
    assert np.isfinite([found["angle_bic_one"], found["angle_bic_two"]]).all()
