"""Each layer of a greedy stack has noise of its own amount."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Generator

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.core.errors import ConfigError
from sae_cli.runs.train import train
from sae_cli.training.stage import Stage
from tests.conftest import SMALL, Configure

STACK = (
    *("model=stacked", "architecture.hidden_sizes=[40,20]", "architecture.n_latents=10"),
    *("schedule.layer_epochs=[1]", "epochs=1", "pictures=false", *SMALL),
)


def stages(configure: Configure, *words: str) -> list[Stage]:
    config = configure(*STACK, *words)
    return build_training(config, build_parts(config), read_dataset(config)).stages


def corrupted(stage: Stage) -> float | None:
    """The share of ones that the stage's corruption changes, or None."""
    if stage.corruption is None:
        return None
    ones = torch.ones(200, 500)
    return float((stage.corruption(ones, Generator().manual_seed(0)) != ones).float().mean())


def test_each_layer_has_its_own_and_the_whole_that_of_the_page(configure: Configure) -> None:
    made = stages(
        configure,
        "corruption=masking",
        "schedule.layer_corruptions=[0.1,0.2,0.3]",
        "head=classifier",
        "head.fine_tune_epochs=1",
    )
    shares = {stage.name: corrupted(stage) for stage in made}
    assert shares == {
        "layer_1": pytest.approx(0.1, abs=0.01),
        "layer_2": pytest.approx(0.2, abs=0.01),
        "layer_3": pytest.approx(0.3, abs=0.01),
        "fine_tune": pytest.approx(0.25, abs=0.01),
        "head": None,
        "fine_tune_head": None,
    }


def test_a_classifier_learns_from_corrupted_examples_where_it_is_asked_to(
    configure: Configure,
) -> None:
    made = stages(
        configure,
        *("corruption=masking", "corruption.fraction=0.4", "schedule.layer_corruptions=[0.1]"),
        *("head=classifier", "head.fine_tune_epochs=1", "head.corrupted=true"),
    )
    shares = {stage.name: corrupted(stage) for stage in made[3:]}
    assert shares == dict.fromkeys(
        ("fine_tune", "head", "fine_tune_head"), pytest.approx(0.4, abs=0.01)
    )


def test_amounts_of_normal_noise_are_standard_deviations(configure: Configure) -> None:
    made = stages(configure, "corruption=gaussian", "schedule.layer_corruptions=[0.5]")
    zeros = torch.zeros(200, 500)
    for stage in made[:3]:
        assert stage.corruption is not None
        noise = stage.corruption(zeros, Generator().manual_seed(0))
        assert float(noise.std()) == pytest.approx(0.5, rel=0.01)


def test_the_corruption_s_own_amount_changes_nothing(configure: Configure, tmp_path: Path) -> None:
    """None of its own, and its own for each layer, are the same training to the bit."""
    models = []
    for word in ("null", "[0.25]"):
        words = ("corruption=masking", f"schedule.layer_corruptions={word}")
        train(configure(*STACK, *words), tmp_path / word, [])
        models.append((tmp_path / word / "model.safetensors").read_bytes())
    assert models[0] == models[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("schedule.layer_corruptions=[0.1]",), "corruption=none does not take"),
        (
            ("corruption=masking", "schedule.layer_corruptions=[0.1,1.5,0.1]"),
            r"schedule.layer_corruptions=\[0.1, 1.5, 0.1\]: corruption.fraction",
        ),
        (
            ("corruption=masking", "schedule.layer_corruptions=[0.1,0.2]"),
            "one for each of the 3 layers",
        ),
    ],
)
def test_amounts_that_do_not_fit_are_refused(
    words: tuple[str, ...], says: str, configure: Configure
) -> None:
    with pytest.raises(ConfigError, match=says):
        build_parts(configure(*STACK, *words))
