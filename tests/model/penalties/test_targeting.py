"""Weights that are tuned until L0 comes to a target, against the controller's equation and data."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.core.errors import ConfigError
from sae_cli.model.autoencoder import Pass
from sae_cli.model.objective import Objective
from sae_cli.model.penalties import PENALTIES
from sae_cli.model.penalties.targeting import Targeting
from sae_cli.model.reconstruction import MSE
from sae_cli.results.notes import target_notes
from sae_cli.runs.train import train
from tests.conftest import Configure
from tests.contracts.small import page_of

X = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5)))


def penalty(**options: Any) -> Targeting:
    made = PENALTIES.build(page_of("penalty/l1.yaml") | {"weight": 0.2, **options})
    assert isinstance(made, Targeting)
    return made.double()


def passed(codes: Tensor) -> Pass:
    return Pass(codes, codes, X[: len(codes)], X[: len(codes)])


@pytest.mark.parametrize("target", [0.5, 2.0, 40.0])
def test_the_weight_follows_the_equation_of_the_controller(target: float) -> None:
    tuned = penalty(target_l0=target)
    rng = np.random.default_rng(1)
    mean, logarithm, error = 0.0, 0.0, 0.0
    for number in range(50):
        codes = rng.normal(size=(6, 5)) * (rng.random((6, 5)) < 0.02 * number)
        l0 = (codes != 0).sum() / 6
        seen = mean > 0
        mean = 0.95 * mean + 0.05 * l0 if seen else l0
        now = np.log(max(mean / target, 1 / 2)) if mean > 0 else 0.0
        logarithm += 2 * (now - error if seen else 0.0) + 2 / 200 * min(now, np.log(8))
        logarithm = float(np.clip(logarithm, -14.0, 14.0))
        error = now
        tuned.watch_(passed(torch.from_numpy(codes)))
    factor = float(np.exp(logarithm))
    assert factor != 1.0
    assert tuned.report_() == {"penalty_weight": pytest.approx(0.2 * factor)}
    ones = torch.ones(6, 5).double()
    objective = Objective(MSE(reduction="sum"), tuned)
    for terms in (
        objective(passed(ones), X),
        objective.terms(objective.means(passed(ones), X)),
    ):
        assert float(terms["penalty"]) == pytest.approx(0.2 * factor * 5.0)
        assert float(terms["penalty_raw"]) == 5.0


def test_a_weight_that_warms_up_is_tuned_after_that() -> None:
    tuned = penalty(target_l0=2.0, warmup_steps=3)
    for number in range(5):
        tuned.watch_(passed(torch.ones(6, 5).double()))
        tuned.after_step_()
        found = tuned.report_()["penalty_weight"]
        assert (found == 0.2) == (number < 3)


def test_an_l0_that_comes_down_takes_the_weight_back() -> None:
    """While L0 falls by itself, no weight needs to grow, far as L0 is."""
    tuned = penalty(target_l0=1.0)
    weights = []
    for active in (200, 150, 100, 50, 20):
        tuned.watch_(passed(torch.ones(6, 200).double() * (torch.arange(200) < active)))
        weights.append(tuned.report_()["penalty_weight"])
    assert weights[0] < 0.2 * 1.05
    assert weights == sorted(weights, reverse=True)


def test_without_a_target_nothing_is_watched() -> None:
    fixed = penalty(warmup_steps=1)
    fixed.watch_(passed(torch.ones(6, 5).double()))
    assert fixed.report_() == {}
    assert fixed.factor() is None
    assert list(fixed.state_dict()) == ["steps"]


@pytest.mark.parametrize("target", [0.0, -3.0])
def test_targets_that_no_code_can_have(target: float, configure: Configure) -> None:
    with pytest.raises(ConfigError, match="target_l0"):
        configure("model=sparse_l1_norms", f"penalty.target_l0={target}")


def known(path: Path) -> None:
    """Examples of 40 sparse features in 20 dimensions."""
    rng = np.random.default_rng(1)
    atoms = rng.normal(size=(40, 20))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    active = (rng.random((15000, 40)) < 0.08) * rng.uniform(0.5, 1.5, (15000, 40))
    np.save(path, (active @ atoms).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("model=sparse_l1_norms", "penalty.target_l0=6.0"),
        ("model=sparse_l1_norms", "penalty.target_l0=6.0", "penalty.weight=0.01"),
        ("model=jumprelu", "penalty=tanh", "penalty.target_l0=4.0"),
    ],
)
def test_l0_ends_at_its_target_on_other_data(
    options: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    known(tmp_path / "x.npy")
    target = float(options[1 if "target" in options[1] else 2].partition("target_l0=")[2])
    config = configure(
        *options,
        "dataset=array",
        f"dataset.path={tmp_path / 'x.npy'}",
        "architecture.n_latents=80",
        "epochs=20",
        "batch_size=64",
        "pictures=false",
    )
    summary = train(config, tmp_path / "run", [])
    for split in ("val", "test"):
        assert summary[f"{split}/l0"] == pytest.approx(target, rel=0.05)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert "train/penalty_weight" not in lines[0]
    assert summary["penalty_weight"] == lines[-1]["train/penalty_weight"]
    saved = load_file(tmp_path / "run/model.safetensors")["penalty.log_factor"]
    first = config.parts["penalty"]["weight"]
    assert summary["penalty_weight"] == pytest.approx(first * float(saved.exp()))
    assert "target_l0" not in (tmp_path / "run/train.log").read_text()


def test_a_target_that_is_missed_is_said_in_one_line(configure: Configure, tmp_path: Path) -> None:
    config = configure(
        *("model=sparse_l1_norms", "penalty.target_l0=3.0", "epochs=1", "pictures=false")
    )
    train(config, tmp_path / "run", [])
    text = (tmp_path / "run/train.log").read_text()
    assert text.count("note: penalty.target_l0=3: val/l0 is ") == 1
    assert "; train longer, begin with another penalty.weight, or " in text


def test_what_is_said_of_a_target() -> None:
    assert target_notes(None, 3.0, 3.0) == []
    assert target_notes(4.0, 5.0, 4.19) == target_notes(4.0, 4.0, 3.81) == []
    for trained, found in ((4.3, 4.3), (0.0, 0.0), (3.7, 4.3)):
        (note,) = target_notes(4.0, trained, found)
        assert note.startswith(
            f"note: penalty.target_l0=4: val/l0 is {found:g}, more than 5% from it; "
        )
        assert "train longer" in note
    (note,) = target_notes(4.0, 4.1, 4.3)
    assert "; train/l0 is 4.1, so give more rows" in note and "train longer" not in note


def test_a_target_that_cannot_be_reached_leaves_a_weight_that_is_finite() -> None:
    tuned = penalty(target_l0=1.0)
    for _ in range(5000):
        tuned.watch_(passed(torch.ones(6, 5).double()))
    assert 1e5 < tuned.report_()["penalty_weight"] < 1e7


def test_a_weight_of_0_cannot_be_tuned() -> None:
    with pytest.raises(ConfigError, match="which stays 0"):
        penalty(weight=0.0, target_l0=2.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=jumprelu", "penalty.target_l0=129"), "is more than the 128 latents"),
        (("model=jumprelu", "penalty.target_l0=128"), None),
        (("model=topk", "penalty=l1", "penalty.target_l0=9"), "activation.k=8 codes that"),
        # Of these, fewer are active where fewer pre-codes are above 0.
        (("model=topk", "penalty=l1", "penalty.target_l0=4"), None),
    ],
)
def test_targets_that_cannot_be_reached(
    words: tuple[str, ...], said: str | None, configure: Configure
) -> None:
    """A new run is refused; one that has begun is resumed, and loaded."""
    config = configure(*words, "device=cpu")
    parts = build_parts(config)
    with nullcontext() if said is None else pytest.raises(ConfigError, match=said):
        prepare(config, parts)
    prepare(config, build_parts(config), is_new=False)
