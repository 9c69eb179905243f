"""The gradient over a whole split, batch by batch, against autograd over all at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.over_split import OverSplit
from tests.conftest import Configure

HEAD = ("head=classifier", "head.fine_tune_epochs=1", "head.n_labels=53")
CASES = {
    "kl": ("model=sparse_kl",),
    "l1": ("model=sparse_l1",),
    "none": ("model=ae", "reconstruction=bce", "architecture.output_activation=sigmoid"),
    "group": ("model=group_sparse",),
    "conv": ("model=conv",),
    "head": ("model=ae", *HEAD),
    "head and kl": ("model=sparse_kl", *HEAD, "head.unsupervised_terms=true"),
}


@pytest.mark.parametrize("size", [7, 64, 10_000])
@pytest.mark.parametrize("case", CASES)
def test_batches_add_up_to_the_whole(configure: Configure, case: str, size: int) -> None:
    config = configure(*CASES[case])
    training = build_training(config, build_parts(config), read_dataset(config))
    for stage in training.stages:
        train = stage.examples(training.dataset.train)
        train = replace(train, rows=train.rows[:150])
        labels = None if stage.objective.head is None else train.labels
        train = replace(train, labels=labels)
        given = (stage.autoencoder, stage.objective, training.device)
        whole = Autograd(*given, stage.trained)
        x = train.values(train.rows)
        terms, gradients = whole(x, x, None if labels is None else labels[train.rows])
        own = OverSplit(*given, train, size, stage.trained)
        found, sums = own()
        assert own.term_names == whole.term_names
        assert list(found) == list(terms)
        for name, term in terms.items():
            assert found[name].dtype == torch.float64
            assert float(found[name]) == pytest.approx(float(term), rel=1e-4, abs=1e-6)
        for one, other in zip(sums, gradients, strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
