"""The geometric median, against its definition: no point has a smaller sum of distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_cli.datasets.centre import geometric_median


def sum_of_distances(rows: NDArray[np.float64], point: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(rows - point, axis=1).sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_median_has_the_least_sum_of_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(50, 4)) * np.arange(1, 5)
    median = geometric_median(torch.from_numpy(rows)).numpy()
    least = sum_of_distances(rows, median)
    # The gradient of the sum of distances vanishes there.
    offsets = (rows - median) / np.linalg.norm(rows - median, axis=1, keepdims=True)
    assert np.abs(offsets.sum(0)).max() < 1e-6
    for _ in range(50):
        assert sum_of_distances(rows, median + rng.normal(size=4) * 0.1) > least


def test_the_median_of_points_on_a_line_is_theirs() -> None:
    rows = torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [50.0, 1.0], [1000.0, 1.0]])
    assert geometric_median(rows).numpy() == pytest.approx([2.0, 1.0], abs=1e-6)
    # A point that most rows share is the median, also where the iteration starts from it.
    same = torch.tensor([[3.0, -1.0]] * 4 + [[0.0, 0.0], [9.0, 9.0], [0.0, -12.0]])
    assert geometric_median(same).numpy() == pytest.approx([3.0, -1.0], abs=1e-6)
    assert torch.equal(geometric_median(torch.ones(3, 2)), torch.ones(2, dtype=torch.float64))
    square = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])
    assert geometric_median(square).tolist() == [0.0, 0.0]
