"""What several runs share of their data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_cli.assembly.data import baseline_of, on_device, read_dataset, read_once
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import _with_kept_labels
from sae_cli.datasets import dataset
from sae_cli.datasets.dataset import Split
from tests.conftest import Configure


def test_runs_share_what_is_read_and_measured_within_read_once(configure: Configure) -> None:
    """One that scales its examples shares neither, and nobody does outside."""
    own, other = configure("model=ae"), configure("model=sparse_kl", "seed=3")
    scaled = configure("model=ae", "unit_norm=true")
    with read_once():
        data = read_dataset(own)
        assert read_dataset(other) is data and read_dataset(scaled) is not data
        found = baseline_of(own, data.train)
        assert baseline_of(other, data.train) is found
        assert baseline_of(scaled, read_dataset(scaled).train) != found
    assert read_dataset(own) is not data
    assert baseline_of(own, data.train) is not found
    assert baseline_of(own, data.train) == found


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_each_split_has_figures_of_its_own(configure: Configure, name: str) -> None:
    config = configure("model=ae")
    with read_once():
        data = read_dataset(config)
        for split in (data.train, data.val, data.test):
            baseline_of(config, split)
        split = getattr(data, name)
        values = np.concatenate([x.numpy() for x in split.chunks()]).reshape(len(split), -1)
        found = baseline_of(config, split)
    assert found.n == len(values)
    assert found.mean == pytest.approx(values.mean(dtype=np.float64))
    assert found.variation == pytest.approx(
        ((values - values.mean(0, dtype=np.float64)) ** 2).sum()
    )


def test_codes_that_a_stage_sees_are_not_taken_for_the_data(configure: Configure) -> None:
    config = configure("model=ae")
    with read_once():
        data = read_dataset(config)
        codes = Split(torch.full((len(data.val), 3), 0.5), torch.arange(len(data.val)))
        baseline_of(config, data.val)
        assert baseline_of(config, codes).mean == 0.5


@pytest.mark.parametrize("streamed", [True, False])
def test_runs_share_what_is_moved_to_a_device(
    streamed: bool, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels that one run sees are its own, and lie there; a stream is each run's own."""
    monkeypatch.setattr(dataset, "too_large", lambda size, device: streamed)
    # Tensors of this device have no values.
    device = torch.device("meta")
    config = configure("model=ae", "head=classifier", "head.n_labels=30")
    with read_once():
        data = read_dataset(config)
        moved = on_device(data, device)
        assert (on_device(data, device) is moved) == (not streamed)
        supervision = build_parts(config).network.supervision
        assert supervision is not None
        kept = _with_kept_labels(config, supervision, data, moved).train
    assert kept.labels is not None and kept.labels.device.type == "meta"
    assert kept.labels is not moved.train.labels
    assert kept.stored is moved.train.stored
