"""Runs of sparse auto-encoders: known truths, learned thresholds, growing weights, old folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sae_cli import load_run
from sae_cli.core.errors import ConfigError
from sae_cli.results.load import Run
from sae_cli.runs.resume import resume
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure

N_ATOMS, N_FEATURES = 64, 32
QUICK = ("pictures=false", "progress=false", "device=cpu")


def truth(folder: Path, n: int = 8000) -> np.ndarray:
    """Save sums of 3 of 64 atoms on average, ``(n, 32)``; give the atoms, ``(64, 32)``."""
    random = np.random.default_rng(0)
    atoms = random.normal(size=(N_ATOMS, N_FEATURES))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = random.uniform(0.5, 1.5, (n, N_ATOMS)) * (random.random((n, N_ATOMS)) < 3 / N_ATOMS)
    np.save(folder / "x.npy", (codes @ atoms).astype(np.float32))
    return atoms


def trained(configure: Configure, folder: Path, *overrides: str) -> Run:
    config = configure(*("dataset=array", f"dataset.path={folder / 'x.npy'}", *QUICK), *overrides)
    train(config, folder / "run", [])
    return load_run(folder / "run")


def recovery(run: Run, atoms: np.ndarray) -> float:
    """The mean over true atoms of the cosine of the learned one that is nearest."""
    linear = run.autoencoder.linear_decoder()
    assert linear is not None
    learned = linear[0].detach().numpy()
    learned = learned / np.linalg.norm(learned, axis=0)
    return float((atoms @ learned).max(1).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("model=topk", "activation.k=4"),
        ("model=batch_topk", "activation.k=3"),
        ("model=jumprelu", "penalty.weight=0.05"),
        ("model=jumprelu", "penalty=tanh", "penalty.weight=0.05"),
        ("model=sparse_l1_norms", "penalty.weight=0.3"),
    ],
)
def test_known_atoms_are_found(
    overrides: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    atoms = truth(tmp_path)
    run = trained(configure, tmp_path, *overrides, "epochs=30")
    assert recovery(run, atoms) > 0.95
    assert run.summary["test/fvu"] < 0.2
    if "model=topk" in overrides:
        assert run.summary["test/l0"] <= 4.0


def test_in_use_batch_topk_has_k_active_codes_on_average(
    configure: Configure, tmp_path: Path
) -> None:
    truth(tmp_path, 2000)
    run = trained(configure, tmp_path, "model=batch_topk", "activation.k=4", "epochs=5")
    for split in ("train", "val", "test"):
        assert run.summary[f"{split}/l0"] == pytest.approx(4.0, abs=0.4)
    x = torch.from_numpy(np.load(tmp_path / "x.npy")[:50])
    together = run.encode(x)
    alone = torch.cat([run.encode(row[None]) for row in x])
    assert torch.equal(together > 0, alone > 0)
    torch.testing.assert_close(together, alone)
    threshold = run.network.saved.state_dict()["activation.threshold"]
    assert 0.0 < float(threshold) < float(together[together > 0].min())


@pytest.mark.parametrize("overrides", [("model=topk", "activation.k=129")])
def test_too_many_codes_are_refused_before_anything_is_written(
    overrides: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"activation\.k=129 .* 128 latents"):
        train(configure(*overrides, *QUICK), tmp_path / "run", [])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (("model=topk", "penalty=l0"), "activation=topk has none; choose activation=jumprelu"),
        (("model=conv", "penalty=tanh"), "penalty=tanh needs a decoder of one linear layer"),
        (
            ("model=stacked", "penalty.decoder_norms=true", "penalty=l1"),
            "penalty.decoder_norms=true needs a decoder of one linear layer",
        ),
        (
            ("model=sparse_l1", "penalty=tanh", "penalty.pre_code_weight=1"),
            "penalty.pre_code_weight=1 needs thresholds",
        ),
    ],
)
def test_what_a_network_lacks_is_named(
    overrides: tuple[str, ...], says: str, configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        train(configure(*overrides, *QUICK), tmp_path / "run", [])


def test_a_classifier_sees_the_codes_of_use(configure: Configure, tmp_path: Path) -> None:
    """Its stages leave the threshold as the auto-encoder's own training has left it."""
    thresholds = []
    for head in ("head=none", "head=classifier"):
        folder = tmp_path / head
        train(configure("model=batch_topk", head, *SMALL, *QUICK[::2]), folder, [])
        thresholds.append(load_run(folder).network.saved.state_dict()["activation.threshold"])
    assert torch.equal(*thresholds)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=sparse_l1_norms",),
        ("model=jumprelu",),
        ("model=jumprelu", "penalty=tanh"),
        ("model=sparse_l1", "inference=fista"),
    ],
)
def test_a_weight_grows_over_the_first_steps(
    overrides: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    """After 4 steps of an epoch it has grown by half; the first step is without the penalty."""
    config = configure(*overrides, "penalty.warmup_steps=8", *SMALL, *QUICK[::2])
    summary = train(config, tmp_path / "run", [])
    state = load_run(tmp_path / "run").network.saved.state_dict()
    assert state["penalty.steps"] == 4.0
    line = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1]
    metrics = yaml.safe_load(line)
    # The shares of the 4 steps are 0, 1/8, 2/8, 3/8.
    weight = config.parts["penalty"]["weight"]
    share = metrics["train/penalty"] / metrics["train/penalty_raw"] / weight
    assert 0.1 < share < 0.3
    assert summary["val/penalty"] == pytest.approx(weight * summary["val/penalty_raw"])


def test_a_folder_from_before_l1_had_options_resumes(configure: Configure, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(configure("model=sparse_l1", *SMALL, *QUICK[::2]), run, [])
    assert "penalty.steps" not in load_run(run).network.saved.state_dict()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["penalty"] = {"name": "l1", "weight": config["penalty"]["weight"]}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert load_run(run).config.parts["penalty"]["decoder_norms"] is False
    resume(run, {"epochs": 2})
    assert [line["epoch"] for line in load_run(run).metrics] == [0, 1, 2]
