"""Configurations of the tests are those of the command."""

from __future__ import annotations

import pytest

from sae_cli.config.compose import compose_run, hydra_ready
from sae_cli.config.schema import check
from tests.configured import configured


@pytest.mark.parametrize(
    "words",
    [
        "model=ae seed=3 compile=off architecture.n_latents=null architecture.expansion_factor=0.5",
        "penalty=l1 penalty.weight=0.3 model=sparse_kl",
        "experiment=hands_on_sparse_kl dataset=digits corruption=masking corruption.fraction=0.5",
        "model=stacked architecture.hidden_sizes=[9,8] schedule.layer_epochs=[1]",
        "dataset=array dataset.path='/an other/p l,a[c]e.npy'",
    ],
)
def test_parts_and_values_are_those_that_hydra_puts_in(words: str) -> None:
    overrides = words.split() if "'" not in words else words.split(" ", 1)
    found = configured(*overrides)
    with hydra_ready():
        assert found == check(compose_run(overrides)[0])
