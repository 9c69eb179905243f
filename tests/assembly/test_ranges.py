"""Data that no model can take, and data that are far from 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.ranges import LARGEST, SMALLEST, range_notes
from sae_cli.core.errors import ConfigError, DivergedError
from sae_cli.runs.train import train
from tests.conftest import Configure

X = np.random.default_rng(0).normal(size=(60, 5))
QUICK = ("model=ae", "batch_size=16", "epochs=1", "pictures=false", "progress=false")


def given(folder: Path, values: np.ndarray) -> tuple[str, ...]:
    np.save(folder / "x.npy", values.astype(np.float32))
    return ("dataset=array", f"dataset.path={folder / 'x.npy'}", *QUICK)


def test_the_limits_are_those_of_squares() -> None:
    with np.errstate(over="ignore", under="ignore"):
        assert np.isfinite(np.square(np.float32(LARGEST * 0.9999)))
        assert np.isinf(np.square(np.float32(LARGEST * 1.0001)))
        assert np.square(np.float32(SMALLEST * 1.01)) > 0
        assert np.square(np.float32(SMALLEST * 0.5)) == 0


@pytest.mark.parametrize("scale", [1e-20, 1e-10, 1e-3, 1.0, 1e3, 1e10, 1e18])
def test_what_can_be_computed_with_is_read(
    configure: Configure, tmp_path: Path, scale: float
) -> None:
    config = configure(*given(tmp_path, X * scale))
    notes = range_notes(config, read_dataset(config))
    assert bool(notes) is not (1e-6 < scale < 1e6)
    if notes:
        (note,) = notes
        advice = note.partition("; ")[2].removesuffix(" brings them to about 1")
        again = configure(*given(tmp_path, X * scale), advice)
        assert not range_notes(again, read_dataset(again))


@pytest.mark.parametrize(("scale", "divisor"), [(1e-15, "1e-14"), (1.5e19 / 5, "1e+20")])
def test_norms_that_no_float_holds(
    configure: Configure, tmp_path: Path, scale: float, divisor: str
) -> None:
    """PyTorch would make 0 of such examples, or leave them as small as they are."""
    words = (*given(tmp_path, np.sign(X) * scale * np.arange(1, 6)), "unit_norm=true")
    with pytest.raises(ConfigError, match="unit_norm=true divides by, float32 cannot hold; ") as e:
        read_dataset(configure(*words))
    assert f"dataset.divisor={divisor} brings" in str(e.value)
    (batch,) = read_dataset(configure(*words, f"dataset.divisor={divisor}")).train.batches(100)
    np.testing.assert_allclose(np.linalg.norm(batch, axis=1), 1.0, rtol=1e-6)


def test_a_divisor_of_the_page_counts(configure: Configure, tmp_path: Path) -> None:
    """The advice is about values as they are stored."""
    with pytest.raises(ConfigError, match=r"dataset.divisor=1e\+16 brings them"):
        read_dataset(configure(*given(tmp_path, X * 1e15), "dataset.divisor=1e-5"))


def test_a_weight_that_is_too_large_is_named(configure: Configure, tmp_path: Path) -> None:
    """Data of a fair size are not at fault."""
    words = given(tmp_path, X.clip(-1, 1))
    config = configure(*words, "model=sparse_l1", "penalty.weight=3e38")
    with pytest.raises(
        DivergedError, match=r"no learning rate mends; give a lower penalty.weight$"
    ):
        train(config, tmp_path / "run", [])
