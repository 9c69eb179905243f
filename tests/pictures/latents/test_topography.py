"""Measures of maps, on maps for which they are known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sae_cli.pictures.latents.topography import (
    neighbour_similarity,
    neighbours,
    orientation_smoothness,
    orientations,
    pinwheel_density,
    windings,
)

Floats = npt.NDArray[np.floating[Any]]


def gabor(angle: float, *, side: int = 12, period: float = 4.0, phase: float = 0.7) -> Floats:
    """Bars along ``angle``, anticlockwise from horizontal, in a round window."""
    down, right = np.mgrid[:side, :side] - (side - 1) / 2
    # The distance is that from the bar through the middle; up is -down.
    across = -right * np.sin(angle) - down * np.cos(angle)
    window = np.exp(-(down**2 + right**2) / (2 * (side / 5) ** 2))
    return np.asarray(window * np.cos(2 * np.pi * across / period + phase))


def pinwheel(side: int, turns: float) -> Floats:
    """Angles ``(side, side)`` that go ``turns`` times around the middle, modulo pi."""
    down, right = np.mgrid[:side, :side] - (side - 1) / 2
    return np.asarray((turns * np.arctan2(-down, right) + 0.3) % np.pi)


@pytest.mark.parametrize("wrap", [False, True])
def test_neighbours_are_those_one_step_away(wrap: bool) -> None:
    expected = set()
    for row, column in product(range(3), range(4)):
        for r, c in ((row + 1, column), (row, column + 1)):
            if wrap or (r < 3 and c < 4):
                expected.add((row * 4 + column, (r % 3) * 4 + c % 4))
    one, other = neighbours((3, 4), wrap=wrap)
    assert set(zip(one.tolist(), other.tolist(), strict=True)) == expected
    assert len(one) == len(expected)


@pytest.mark.parametrize("angle", np.linspace(0, np.pi, 16, endpoint=False))
@pytest.mark.parametrize(("period", "phase"), [(4.0, 0.0), (3.0, 1.3), (7.0, 2.0)])
def test_gabors_have_their_angle(angle: float, period: float, phase: float) -> None:
    angles, strengths = orientations(gabor(angle, period=period, phase=phase)[None])
    assert abs((angles[0] - angle + np.pi / 2) % np.pi - np.pi / 2) < np.deg2rad(3)
    assert strengths[0] > 0.5


def test_atoms_without_direction_have_no_strength() -> None:
    spot = gabor(0.0, period=1e9, phase=0.0)
    angles, strengths = orientations(np.stack([spot, np.zeros((12, 12)), np.ones((12, 12))]))
    assert strengths == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(angles).all()


@pytest.mark.parametrize("turns", [0.5, -0.5, 0.0, 1.0])
def test_a_pinwheel_winds_by_half_a_turn(turns: float) -> None:
    found = windings(pinwheel(6, turns), wrap=False)
    assert found.shape == (5, 5)
    if abs(turns) < 1:
        expected = np.zeros((5, 5))
        expected[2, 2] = turns
        np.testing.assert_array_equal(found, expected)
    else:
        # Around the very middle a whole turn is four quarters, whose sense is not defined.
        found[2, 2] = 0
        assert not found.any()


def test_on_a_torus_pinwheels_cancel() -> None:
    angles = np.random.default_rng(0).uniform(0, np.pi, (9, 7))
    assert windings(angles, wrap=True).sum() == 0


def test_chance_has_a_pinwheel_in_every_third_square() -> None:
    angles = np.random.default_rng(0).uniform(0, np.pi, 32 * 32)
    density = pinwheel_density(angles, (32, 32), wrap=True)
    assert density.shuffled == pytest.approx(1 / 3, abs=0.01)
    assert abs(density.z) < 4


def test_a_smooth_map_is_far_from_shuffled() -> None:
    rows, columns = np.mgrid[:16, :16] * 2 * np.pi / 16
    angles = (np.arctan2(np.sin(rows), np.sin(columns)) / 2 % np.pi).ravel()
    atoms = np.stack([gabor(angle, phase=0.0).ravel() for angle in angles])
    sheet = (16, 16)
    alike = neighbour_similarity(atoms, sheet, wrap=True)
    one, other = neighbours(sheet, wrap=True)
    cosines = [
        abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
        for a, b in zip(atoms[one], atoms[other], strict=True)
    ]
    assert alike.value == pytest.approx(np.mean(cosines))
    assert alike.z > 10
    smooth = orientation_smoothness(angles, sheet, wrap=True)
    assert smooth.value > 0.9 and abs(smooth.shuffled) < 0.1 and smooth.z > 10
    assert pinwheel_density(angles, sheet, wrap=True).z < -5


def test_a_shuffled_map_is_not_a_map() -> None:
    rng = np.random.default_rng(1)
    atoms = rng.normal(size=(64, 20))
    found = neighbour_similarity(atoms, (8, 8), wrap=True)
    assert abs(found.z) < 4
    assert found == neighbour_similarity(atoms, (8, 8), wrap=True)


def test_atoms_of_zeros_are_like_no_other() -> None:
    found = neighbour_similarity(np.zeros((16, 5)), (4, 4), wrap=True)
    assert found == (0.0, 0.0, 0.0)
