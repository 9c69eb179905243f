"""Runs of every kind, stopped within and after epochs and stages and resumed, equal to the bit runs
that were never stopped."""

from __future__ import annotations

import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.assembly.data import locate
from sae_cli.core.errors import Stopped
from sae_cli.run_folder.layout import read_metrics
from sae_cli.run_folder.plain_yaml import read_yaml
from sae_cli.runs.resume import begin_or_resume, resume
from sae_cli.runs.saver import Saver
from sae_cli.runs.train import train
from tests.conftest import Configure, slow
from tests.contracts.kinds import KINDS, VARIANTS
from tests.contracts.small import MODELS, one_of_each_architecture
from tests.killing import results

# The run has 97 digits, 4 steps an epoch.
SMALL = ("dataset.val=20", "dataset.test=1680", "epochs=2", "pictures=false", "device=cpu")
QUICK = one_of_each_architecture()
REST = [page for page in MODELS if page not in QUICK]


@pytest.mark.parametrize("case", [*QUICK, *VARIANTS, *slow(REST)])
def test_stopped_and_resumed(
    case: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*SMALL, *KINDS[case])
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

    def in_a_stage(self: Saver, terms: Any, n: int) -> None:
        stop_if_due(self, self._run.progress.step + 1)
        after_step(self, terms, n)

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


def test_a_run_knows_where_its_labels_are(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder, with the file as it was given, and as an earlier version has kept it."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).random((60, 5), np.float32))
    np.save("y.npy", np.arange(60) % 3)
    words = ("model=ae", "dataset=array", "dataset.path=x.npy", "dataset.labels=y.npy")
    given = configure(*words, "epochs=1", "pictures=false", "report=false")
    run = tmp_path / "run"
    train(given, run, [])
    config = run / "config.yaml"
    assert read_yaml(config, 1 << 20)["dataset"]["labels"] == str(tmp_path / "y.npy")
    begin_or_resume(given.changed({"epochs": 1}), run, [])
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume(run, {"epochs": 2})
    monkeypatch.chdir(tmp_path)
    config.write_text(config.read_text().replace(str(tmp_path / "y.npy"), "y.npy"))
    resume(run, {"epochs": 3})
    assert read_yaml(config, 1 << 20)["dataset"]["labels"] == str(tmp_path / "y.npy")
    # A key of the file is no path.
    np.savez("z.npz", x=np.load("x.npy"), y=np.load("y.npy"))
    keyed = configure(*words[:2], "dataset.path=z.npz", "dataset.key=x", "dataset.labels=y")
    assert locate(keyed).parts["dataset"]["labels"] == "y"
