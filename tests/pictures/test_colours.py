"""Colours of tiles and weights: right, and on stated scales."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps

from sae_cli.pictures.colours import colours, symmetric_limit, unit_rows

RNG = np.random.default_rng(2)


def test_colours_clip_and_mark_values_that_are_not_numbers() -> None:
    image = np.array([-9.0, -1.0, 0.0, 1.0, 9.0, np.inf, np.nan], np.float32).reshape(1, 1, 1, 7)
    rgb = colours(image, -1.0, 1.0, colormaps["RdBu_r"])[0, 0]
    np.testing.assert_array_equal(rgb[0], rgb[1])
    np.testing.assert_array_equal(rgb[3], rgb[4])
    np.testing.assert_array_equal(rgb[3], rgb[5])
    assert rgb[0, 2] > rgb[0, 0] and rgb[3, 0] > rgb[3, 2]  # below zero blue, above zero red
    assert (rgb[2] > 0.95).all()
    assert rgb[6, 2] < 0.3 < 0.7 < rgb[6, 1]
    colour = np.repeat(image, 3, axis=1)
    np.testing.assert_allclose(colours(colour, -1.0, 1.0, colormaps["gray"])[0, 0, 2], 0.5)


def test_unit_rows_against_numpy() -> None:
    weights = RNG.normal(size=(6, 10)).astype(np.float32)
    weights[2] = 0.0
    units = unit_rows(weights)
    norms = np.sqrt(np.square(units).sum(1))
    np.testing.assert_allclose(np.delete(norms, 2), 1.0)
    np.testing.assert_array_equal(units[2], 0.0)
    np.testing.assert_allclose(
        units[0], weights[0] / np.sqrt((weights[0].astype(float) ** 2).sum())
    )


def test_the_limit_is_a_percentile_unless_that_is_zero() -> None:
    values = np.arange(-1000, 1001.0)
    assert symmetric_limit(values, 99.5) == pytest.approx(np.percentile(np.abs(values), 99.5))
    sparse = np.zeros(1000)
    sparse[3] = -4.0
    assert symmetric_limit(sparse, 99.5) == 4.0
    assert symmetric_limit(np.zeros(3), 99.5) == 1.0
    assert symmetric_limit(np.array([np.nan, 2.0]), 100) == 2.0
