"""Runs with a classifier of the codes: the weights that each stage moves, and the loaded run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli import load_run
from sae_cli.assembly.data import read_dataset
from sae_cli.assembly.network import Network, NetworkParts, build_network
from sae_cli.assembly.parts import build_parts
from sae_cli.config.schema import RunConfig
from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.train import train
from tests.conftest import SMALL, Command, Configure

BASE = ("model=denoising", "head=classifier", "head.epochs=2", "head.fine_tune_epochs=1")
QUICK = (*SMALL, "pictures=false", "device=cpu")


def model_after(run: Path, stage: str) -> dict[str, Tensor]:
    saved: dict[str, Any] = torch.load(run / "checkpoints" / f"{stage}.pt", weights_only=True)
    found: dict[str, Tensor] = saved["model"]
    return found


def moves(run: Path, before: str, after: str) -> set[str]:
    """Tell which of encoder and decoder move from the end of one stage to that of another."""
    old, new = model_after(run, before), model_after(run, after)
    return {name.partition(".")[0] for name in old if not torch.equal(old[name], new[name])}


@pytest.mark.parametrize("all_terms", [False, True])
def test_the_weights_that_each_stage_moves(
    all_terms: bool, configure: Configure, tmp_path: Path
) -> None:
    terms = f"head.unsupervised_terms={all_terms}".lower()
    train(configure(*BASE, *QUICK, "head.n_labels=40", terms), tmp_path / "run", [])
    run = tmp_path / "run"
    assert moves(run, "joint", "head") == set()
    expected = {"encoder", "decoder"} if all_terms else {"encoder"}
    assert moves(run, "head", "fine_tune_head") == expected
    steps = {(line["stage"], line["epoch"]): line["step"] for line in read_metrics(run)}
    # In batches of 32, 97 examples take four steps, and the 40 labelled ones two.
    assert steps[("head", 3)] == 4 + 2 * 2
    assert steps[("fine_tune_head", 4)] == 8 + (4 if all_terms else 2)
    fine_tuning = [line for line in read_metrics(run) if line["stage"] == "fine_tune_head"]
    assert ("train/reconstruction" in fine_tuning[-1]) == all_terms


def test_supervised_stages_see_clean_examples(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise is drawn only for the examples of the unsupervised stage's one epoch."""
    draws = []
    masking = build_parts(configure(*BASE)).corruption
    assert masking is not None
    kind = type(masking)
    corrupt = kind.__call__

    def counted(self: Any, x: Tensor, generator: torch.Generator) -> Tensor:
        draws.append(len(x))
        return corrupt(self, x, generator)

    monkeypatch.setattr(kind, "__call__", counted)
    train(configure(*BASE, *QUICK), tmp_path / "run", [])
    assert sum(draws) == 97


@pytest.mark.parametrize("normalise", [False, True])
def test_accuracy_is_that_of_the_loaded_run(
    normalise: bool, configure: Configure, tmp_path: Path
) -> None:
    given = (f"head.normalise={normalise}".lower(), "head.max_row_norm=1.0", "head.n_labels=60")
    config = configure(*BASE, *QUICK, *given)
    summary = train(config, tmp_path / "run", [])
    data, run = read_dataset(config), load_run(tmp_path / "run")
    for name, split in (("val", data.val), ("test", data.test)):
        (x,) = split.batches(2000)
        assert split.labels is not None
        labels = split.labels[split.rows]
        right = float((run.classify(x) == labels).double().mean())
        assert summary[f"{name}/accuracy"] == pytest.approx(right)
        assert read_metrics(tmp_path / "run")[-1]["val/accuracy"] == summary["val/accuracy"]
        head = run.network.head
        assert head is not None
        nats = torch.nn.functional.cross_entropy(head(run.encode(x)), labels)
        assert summary[f"{name}/head_raw"] == pytest.approx(nats.item(), rel=1e-5)
        assert summary[f"{name}/accuracy"] > 0.15


@pytest.mark.parametrize(
    "overrides",
    [
        (*BASE, "head.max_row_norm=1.0"),
        ("model=drsae", "head.epochs=1", "head.fine_tune_epochs=1"),
        ("model=lateral_inhibition", "penalty=lateral_learned"),
        ("model=group_sparse",),
        ("model=vae", "penalty.warmup_steps=3", "head=classifier", "head.epochs=1"),
    ],
    ids=["bounded head", "drsae", "learned penalty", "pools", "vae"],
)
def test_a_loaded_run_is_the_trained_network(
    overrides: tuple[str, ...],
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Codes, classes and all weights are the same to the bit."""
    kept: list[Network] = []

    def recorded(config: RunConfig, parts: NetworkParts, shape: Any) -> Network:
        kept.append(build_network(config, parts, shape))
        return kept[-1]

    monkeypatch.setattr("sae_cli.assembly.stages.build_network", recorded)
    train(configure(*overrides, *QUICK), tmp_path / "run", [])
    (trained,) = kept
    run = load_run(tmp_path / "run")
    x = torch.rand(50, 1, 8, 8)
    with torch.no_grad():
        codes = trained.autoencoder.encode(x)
    assert torch.equal(run.encode(x), codes)
    if trained.head is None:
        with pytest.raises(ValueError, match="no classifier"):
            run.classify(x)
    else:
        assert torch.equal(run.classify(x), trained.head(codes).argmax(1))
    before, after = trained.saved.state_dict(), run.network.saved.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_data_without_labels_through_the_command(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", np.eye(50, 4, dtype=np.float32))
    done = command("model=ae", "dataset=array", "dataset.path=values.npy", "head=classifier")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "head=classifier needs labels, and dataset=array has none" in done.stderr
    assert not list(tmp_path.glob("outputs/*/model.safetensors"))


def test_an_encoder_with_fixed_parameters_is_fine_tuned(
    configure: Configure, tmp_path: Path
) -> None:
    """An LSTM has a bias that stays zero."""
    head = ("head=classifier", "head.epochs=1", "head.fine_tune_epochs=1")
    config = configure("model=recurrent", *head, "pictures=false", *SMALL)
    assert train(config, tmp_path / "run", [])["status"] == "finished"


def test_a_decoder_that_nothing_trained_is_not_shown(configure: Configure, tmp_path: Path) -> None:
    head = ("head=classifier", "head.epochs=0", "head.fine_tune_epochs=1")
    train(configure("model=ae", "schedule=none", *head, *SMALL), tmp_path / "run", [])
    drawn = {picture.stem for picture in (tmp_path / "run" / "pictures").glob("*.png")}
    assert "filters" in drawn
    assert not drawn & {"reconstructions", "atoms"}
