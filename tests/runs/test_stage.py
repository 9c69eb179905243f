"""Stages of a stack: each layer alone on frozen codes, then the whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import build_training
from sae_cli.run_folder.checkpoints import Checkpoints
from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.train import train
from sae_cli.training.devices import Device
from tests.conftest import SMALL, Configure

STAGES = ["layer_1", "layer_2", "layer_3", "fine_tune"]


@pytest.fixture(params=["none", "l1"])
def stack(request: pytest.FixtureRequest, configure: Configure, tmp_path: Path) -> Path:
    config = configure(
        "model=stacked",
        f"penalty={request.param}",
        "corruption=masking",
        "architecture.hidden_sizes=[40,20]",
        "architecture.n_latents=10",
        "schedule.layer_epochs=[2,3,1]",
        "schedule.layer_learning_rates=[0.01]",
        "epochs=3",
        "pictures=false",
    )
    train(config, tmp_path / "run", [])
    return tmp_path / "run"


def checkpoint(run: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints" / f"{stage}.pt", weights_only=True)
    return found


def test_epochs_and_names_of_the_stages(stack: Path) -> None:
    lines = [(line["stage"], line["epoch"]) for line in read_metrics(stack)]
    assert lines == [
        *[("layer_1", epoch) for epoch in (0, 1, 2)],
        *[("layer_2", epoch) for epoch in (2, 3, 4, 5)],
        *[("layer_3", epoch) for epoch in (5, 6)],
        *[("fine_tune", epoch) for epoch in (6, 7, 8, 9)],
    ]


def test_a_stage_moves_its_own_layer_alone(stack: Path) -> None:
    """Other layers stay the same to the bit; the last stage moves all."""
    layers = {"layer_1": ("encoder.1", "decoder.4"), "layer_2": ("encoder.3", "decoder.2")}
    layers["layer_3"] = ("encoder.5", "decoder.0")
    for before, after in pairwise(STAGES):
        old, new = checkpoint(stack, before)["model"], checkpoint(stack, after)["model"]
        moved = {name.rpartition(".")[0] for name in old if not torch.equal(old[name], new[name])}
        every = {name for pair in layers.values() for name in pair}
        assert moved == (every if after == "fine_tune" else set(layers[after]))


def test_fine_tuning_improves_on_the_unrolled_stack(stack: Path) -> None:
    losses = [line["val/loss"] for line in read_metrics(stack) if line["stage"] == "fine_tune"]
    assert losses[-1] < losses[0]


def test_a_layer_reconstructs_the_codes_below_it(stack: Path) -> None:
    """Its error is measured against those codes, and becomes smaller."""
    fvu = [line["val/fvu"] for line in read_metrics(stack) if line["stage"] == "layer_2"]
    assert fvu[-1] < fvu[0]
    assert "val/bce" not in read_metrics(stack)[3]


@pytest.mark.parametrize(
    ("setting", "n"), [("checkpoint_steps=2", 4), ("checkpoint_minutes=1e-9", 6), ("seed=0", 2)]
)
def test_checkpoints_within_an_epoch(
    setting: str, n: int, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch has four steps; checkpoints come before it, within it and after it."""
    saved: list[int] = []
    save = Checkpoints.save

    def counted(self: Checkpoints, state: Any, *, best: bool) -> None:
        saved.append(state.step)
        save(self, state, best=best)

    monkeypatch.setattr(Checkpoints, "save", counted)
    train(configure(*SMALL, "pictures=false", setting), tmp_path / "run", [])
    assert len(saved) == n


@pytest.mark.parametrize("penalty", ["lateral_learned", "lateral_tree"])
def test_all_of_every_stage_lies_on_the_device(penalty: str, configure: Configure) -> None:
    """So does the penalty on a layer's own codes; the meta device stands for a GPU."""
    config = configure("model=stacked", f"penalty={penalty}", "activation=relu")
    made = build_parts(config)
    elsewhere = replace(made, device=Device(torch.device("meta")))
    training = build_training(config, elsewhere, read_dataset(config))
    for stage in training.stages:
        for module in (stage.autoencoder, stage.objective):
            tensors = [*module.parameters(), *module.buffers()]
            assert all(tensor.is_meta for tensor in tensors), stage.name
