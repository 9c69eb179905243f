"""The centre of the training examples, which a bias begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.assembly import centre
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.datasets import Split
from tests.conftest import Configure

X = torch.from_numpy(np.random.default_rng(0).lognormal(size=(400, 5)).astype(np.float32))


def test_the_mean_of_a_split_is_that_of_its_rows() -> None:
    rows = torch.arange(0, 400, 3)
    expected = X[rows].double().mean(0)
    torch.testing.assert_close(centre.centre(Split(X, rows), "mean"), expected)


def test_the_geometric_median_is_where_directions_cancel() -> None:
    """The gradient of the mean distance is the mean of the unit vectors from the rows."""
    found = centre.centre(Split(X, torch.arange(400)), "geometric_median").numpy()
    away = found - X.double().numpy()
    units = away / np.linalg.norm(away, axis=1, keepdims=True)
    assert np.abs(units.mean(0)).max() < 1e-6
    assert np.abs(found - X.double().numpy().mean(0)).max() > 0.1


def test_a_row_can_be_the_geometric_median() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    torch.testing.assert_close(centre.geometric_median(x), torch.zeros(2).double())
    torch.testing.assert_close(centre.geometric_median(x[:1]), torch.zeros(2).double())


def test_outliers_move_it_little() -> None:
    x = torch.cat([X, torch.full((40, 5), 1e6)])
    assert float((centre.geometric_median(x) - centre.geometric_median(X)).abs().max()) < 1.0


def test_few_enough_examples_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centre, "MEDIAN_EXAMPLES", 150)
    found = centre.centre(Split(X, torch.arange(400)), "geometric_median")
    assert torch.equal(found, centre.geometric_median(X[::3]))
    monkeypatch.setattr(centre, "MEDIAN_NUMBERS", 50)
    found = centre.centre(Split(X, torch.arange(400)), "geometric_median")
    assert torch.equal(found, centre.geometric_median(X[::40]))


@pytest.mark.parametrize("kind", ["zeros", "mean", "geometric_median"])
def test_a_training_begins_there(kind: str, configure: Configure, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.numpy())
    config = configure(
        *("model=topk", "activation.k=2", "dataset=array", f"dataset.path={tmp_path / 'x.npy'}"),
        *("unit_norm=true", f"architecture.bias_init={kind}", "device=cpu"),
    )
    data = read_dataset(config)
    linear = build_training(config, build_parts(config), data).autoencoder.linear_decoder()
    assert linear is not None and linear[1] is not None
    train = torch.cat(list(data.train.batches(1000))).double()
    expected = {
        "zeros": torch.zeros(5).double(),
        "mean": train.mean(0),
        "geometric_median": centre.geometric_median(train),
    }
    torch.testing.assert_close(linear[1].detach(), expected[kind].float())
