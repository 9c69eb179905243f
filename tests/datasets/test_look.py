"""A look at training rows, against NumPy's figures of the whole array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_cli.datasets import Split, dataset, look
from sae_cli.datasets.inputs import Inputs
from sae_cli.datasets.look import Look, look_at

RNG = np.random.default_rng(0)


def look_of(x: NDArray[np.generic], rows: NDArray[np.int64] | None = None) -> Look:
    taken = np.arange(len(x)) if rows is None else rows
    return look_at(Split(torch.from_numpy(x), torch.from_numpy(taken)))


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e4])
def test_figures_of_the_rows(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of chunks, and of the rows of the split alone."""
    x = (RNG.normal(size=(300, 7)) * np.arange(1, 8) + offset).astype(np.float32)
    rows = RNG.permutation(300)[:200]
    wanted = x[rows].astype(np.float64)
    mean = wanted.mean(0)
    spread = np.sqrt(((wanted - mean) ** 2).sum(1).mean())
    for chunk in (4 * 7 * 11, 1 << 20):
        monkeypatch.setattr(dataset, "CHUNK_BYTES", chunk)
        seen = look_of(x, rows)
        assert (seen.rows, seen.width, seen.dtype) == (200, 7, "float32")
        assert (seen.low, seen.high) == (wanted.min(), wanted.max())
        assert seen.mean_norm == pytest.approx(np.linalg.norm(wanted, axis=1).mean(), rel=1e-5)
        assert seen.rms == pytest.approx(np.sqrt((wanted**2).mean()), rel=1e-5)
        assert seen.mean_over_spread == pytest.approx(np.linalg.norm(mean) / spread, rel=1e-5)
        assert seen.outliers == []
        assert (seen.compared_rows, seen.repeated_rows) == (200, 0)
        assert (seen.constant_rows, seen.constant_columns) == (0, 0)


def test_outliers_are_ten_times_the_median_of_what_varies() -> None:
    x = RNG.normal(size=(500, 12))
    x[:, :5] = 1e6
    x[:, 7] *= 9.0
    x[:, 9] *= 12.0
    x[:, 11] = x[:, 11] * 30.0 + 1e5
    deviations = x.std(0)
    wanted = np.flatnonzero(deviations > 10 * np.median(deviations[5:]))
    seen = look_of(x)
    assert seen.outliers == wanted.tolist() == [9, 11]
    assert seen.constant_columns == 5


def test_repeated_and_constant_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.normal(size=(100, 3)).astype(np.float32)
    x[40:50] = x[3]
    x[60:64] = 0.0
    x[70] = 2.5
    seen = look_of(x)
    assert seen.repeated_rows == 100 - len(np.unique(x, axis=0)) == 13
    assert seen.constant_rows == 5
    monkeypatch.setattr(look, "COMPARED_ROWS", 45)
    seen = look_of(x)
    assert (seen.compared_rows, seen.repeated_rows) == (45, 5)


def test_rows_that_are_all_alike_have_no_spread() -> None:
    seen = look_of(np.ones((10, 4), np.float32))
    assert seen.mean_over_spread is None
    assert (seen.constant_rows, seen.constant_columns, seen.repeated_rows) == (10, 4, 9)
    assert look_of(np.arange(10.0).reshape(10, 1)).constant_rows == 0


def test_it_sees_what_a_model_sees() -> None:
    stored = torch.arange(40).to(torch.uint16).reshape(10, 4)
    seen = look_at(Split(stored, torch.arange(10), inputs=Inputs(divisor=2.0)))
    assert (seen.dtype, seen.low, seen.high) == ("uint16", 0.0, 19.5)
