"""The centre of the training examples, which a bias begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.datasets.centre import geometric_median
from tests.conftest import Configure

X = torch.from_numpy(np.random.default_rng(0).lognormal(size=(400, 5)).astype(np.float32))


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
        "geometric_median": geometric_median(train),
    }
    torch.testing.assert_close(linear[1].detach(), expected[kind].float())


@pytest.mark.parametrize("kind", ["mean", "geometric_median"])
def test_a_self_taught_one_begins_with_the_examples_that_it_learns_from(
    kind: str, configure: Configure, tmp_path: Path
) -> None:
    labels = np.arange(400) % 3
    np.save(tmp_path / "x.npy", X.numpy() + 5.0 * (labels == 1)[:, None].astype(np.float32))
    np.save(tmp_path / "labels.npy", labels)
    paths = (f"dataset.path={tmp_path / 'x.npy'}", f"dataset.labels={tmp_path / 'labels.npy'}")
    config = configure(
        *("model=topk", "activation.k=2", "dataset=array", *paths, "device=cpu"),
        *(f"architecture.bias_init={kind}", "head=classifier", "head.classes=[0,1]"),
        "head.self_taught=true",
    )
    data = read_dataset(config)
    linear = build_training(config, build_parts(config), data).autoencoder.linear_decoder()
    assert linear is not None and linear[1] is not None
    others = X[: len(data.train)][labels[: len(data.train)] == 2].double()
    expected = others.mean(0) if kind == "mean" else geometric_median(others)
    torch.testing.assert_close(linear[1].detach(), expected.float())
