"""Fits of one and of two normal distributions against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from sae_cli.results.evaluation.modes import (
    Mixture,
    modes_of_angles,
    one_normal,
    two_normals,
)


def clusters(seed: int, apart: float, n: int = 200) -> np.ndarray:
    """A third of the numbers in a wide cluster, which is this far above the others."""
    rng = np.random.default_rng(seed)
    few = n // 3
    return np.concatenate([rng.normal(0.6, 0.1, n - few), rng.normal(0.6 + apart, 0.15, few)])


@pytest.mark.parametrize("apart", [0.3, 0.45, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_criteria_are_those_of_scikit_learn(seed: int, apart: float) -> None:
    x = clusters(seed, apart)
    for k, fit in enumerate((one_normal(x), two_normals(x)), start=1):
        other = GaussianMixture(k, n_init=20, tol=1e-9, max_iter=5000, random_state=0)
        column = x[:, None]
        expected = other.fit(column).bic(column)
        assert fit.bic(x) == pytest.approx(expected, abs=0.01)
        assert sorted(fit.means) == pytest.approx(sorted(other.means_[:, 0]), abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_two_clusters_are_two_modes(seed: int) -> None:
    found = modes_of_angles(clusters(seed, 1.0))
    assert found["angle_bic_two"] < found["angle_bic_one"] - 50 and found["angle_modes"] == 2


@pytest.mark.parametrize("seed", range(5))
def test_one_cluster_is_one_mode(seed: int) -> None:
    found = modes_of_angles(np.random.default_rng(seed).normal(0.7, 0.1, 200))
    assert found["angle_bic_one"] < found["angle_bic_two"] and found["angle_modes"] == 1


@pytest.mark.parametrize("distance, modes", [(1.9, 1), (2.1, 2)])
def test_two_like_normals_have_two_modes_beyond_two_deviations(distance: float, modes: int) -> None:
    """Equal shares and variances have two maxima just where their means are 2 sd apart."""
    means, halves = np.array([0.0, distance]), np.full(2, 0.5)
    assert Mixture(halves, means, np.ones(2)).n_modes() == modes


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
