"""Runs of every kind, stopped within and after epochs and stages and resumed, equal to the bit runs
that were never stopped."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_cli import load_run
from sae_cli.core.errors import Stopped
from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.saver import Saver
from tests.conftest import Configure, slow
from tests.contracts.small import MODELS, one_of_each_architecture
from tests.killing import results

# The run has 97 digits, 4 steps an epoch.
SMALL = ("dataset.val=20", "dataset.test=1680", "epochs=2", "pictures=false", "device=cpu")
GREEDY = ("schedule=greedy", "schedule.layer_epochs=[1]")
QUICK = one_of_each_architecture()
REST = [page for page in MODELS if page not in QUICK]
# Stages have epochs of their own.
SHORTER = {"stacked": ("schedule.layer_epochs=[1]",), "drsae": ("head.epochs=1",)}
HEAD = ("head=classifier", "head.epochs=1", "head.fine_tune_epochs=1")
VARIANTS: dict[str, tuple[str, ...]] = {
    "greedy conv": ("model=conv", *GREEDY),
    "greedy group": ("model=conv_group_sparse", "architecture.channels=[4,8]", *GREEDY),
    "greedy lateral": (
        *("model=sparse_l1", "penalty=lateral_learned", "architecture.hidden_sizes=[16]"),
        *("architecture.hidden_activations=[relu]", *GREEDY),
    ),
    "drsae fine-tuned": ("model=drsae", *HEAD, "head.n_labels=70"),
    "head with all terms": ("model=denoising", *HEAD, "head.unsupervised_terms=true"),
    "head alone": ("model=ae", "schedule=none", *HEAD),
    "vae warming up": ("model=vae", "penalty.warmup_steps=7"),
    "lateral_learned": ("model=lateral_inhibition", "penalty=lateral_learned"),
    "unit_norm": ("model=sparse_l1", "unit_norm=true"),
    "clipped": ("model=sparse_l1", "clip_norm=0.05"),
}
CASES = {page: (f"model={page}", *SHORTER.get(page, ())) for page in MODELS} | VARIANTS


@pytest.mark.parametrize("case", [*QUICK, *VARIANTS, *slow(REST)])
def test_stopped_and_resumed(
    case: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*SMALL, *CASES[case])
    begin_or_resume(config, tmp_path / "whole", [])
    lines = read_metrics(tmp_path / "whole")
    epochs = [(b, (a["step"], b["step"])) for a, b in pairwise(lines) if b["step"] > a["step"]]
    # Stops come within an epoch of each stage, after the first epoch, and between stages.
    within = {line["stage"]: (a + b) // 2 for line, (a, b) in epochs}
    left: set[Any] = {*within.values(), epochs[0][1][1]}
    left |= set(within) if len(within) > 1 else set()
    n_stops = len(left)

    def stop_if_due(saver: Saver, now: Any) -> None:
        if now in left:
            left.remove(now)
            saver._run.stop.number = signal.SIGTERM

    after_step, save_stage = Saver.after_step, Saver.save_stage

    def in_a_stage(self: Saver, terms: Any) -> None:
        stop_if_due(self, self._run.progress.step + 1)
        after_step(self, terms)

    def at_its_end(self: Saver) -> None:
        save_stage(self)
        stop_if_due(self, self._stage.name)

    monkeypatch.setattr(Saver, "after_step", in_a_stage)
    monkeypatch.setattr(Saver, "save_stage", at_its_end)
    for _ in range(n_stops):
        with pytest.raises(Stopped):
            begin_or_resume(config, tmp_path / "run", [])
    begin_or_resume(config, tmp_path / "run", [])
    assert not left
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    assert load_run(tmp_path / "run").encode(torch.rand(2, 1, 8, 8)).isfinite().all()
    summaries = [
        json.loads((tmp_path / run / "summary.json").read_text()) for run in ("run", "whole")
    ]
    assert summaries[0] | {"seconds": 0} == summaries[1] | {"seconds": 0}
