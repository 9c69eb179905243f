"""The table that a run ends with."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.core.errors import Stopped
from sae_cli.runs import closing
from sae_cli.runs.closing import closing_table
from sae_cli.runs.resume import begin_or_resume
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure

SPLITS = ("train", "val", "test")


def shown(l0: float, active_above: float) -> str:
    activation = SimpleNamespace(active_above=active_above)
    model: Any = SimpleNamespace(activation=activation, n_latents=10)
    metrics = {"loss": 1.0, "l0": l0, "dead_latents": 0.0}
    final = {f"{part}/{key}": value for part in SPLITS for key, value in metrics.items()}
    return "\n".join(closing_table(final, model, None))


@pytest.mark.parametrize(("l0", "active_above"), [(9.9, 0.0), (10.0, 0.1), (3.0, 0.1)])
def test_the_table_says_how_many_codes_are_active_and_when_one_is(
    l0: float, active_above: float
) -> None:
    text = shown(l0, active_above)
    assert "\nl0 " in text and "\ndead_latents " in text
    assert f"a code is active when its magnitude exceeds {active_above:g}." in text


def test_the_table_leaves_out_how_many_are_active_where_all_are() -> None:
    text = shown(10.0, 0.0)
    assert "l0" not in text and "dead_latents" not in text and "active" not in text
    assert text.endswith("Metrics of the final weights.")


def test_a_long_measurement_is_announced(
    configure: Configure,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configure("model=ae", *SMALL, "pictures=false")
    train(config, tmp_path / "short", [])
    assert "measuring" not in capsys.readouterr().out
    monkeypatch.setattr(closing, "LONG_SECONDS", 0.0)
    train(config, tmp_path / "long", [])
    lines = capsys.readouterr().out.splitlines()
    (line,) = (one for one in lines if one.startswith("measuring"))
    assert line == "measuring train and test: about 1 s"
    before, after = lines[lines.index(line) - 1], lines[lines.index(line) + 2]
    assert before.startswith("epoch 1/1") and after.startswith("metric ")


def test_nothing_is_said_of_how_long_where_nothing_is_known(
    configure: Configure,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that is resumed after its last epoch has not evaluated anything in this process."""
    config, measure = configure("model=ae", *SMALL, "pictures=false"), closing._evaluate
    monkeypatch.setattr(closing, "LONG_SECONDS", 0.0)

    def stopped(run: Any, *given: Any) -> dict[str, float]:
        run.stop.number = signal.SIGTERM
        return measure(run, *given)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(closing, "_evaluate", stopped)
        begin_or_resume(config, tmp_path / "run", [])
    assert "measuring train and test" in capsys.readouterr().out
    begin_or_resume(config, tmp_path / "run", [])
    shown = capsys.readouterr().out
    assert "measuring" not in shown and "\nmetric " in shown


def test_a_run_says_of_its_codes_what_means_something(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Codes that are never 0 are not counted; those of a variational model have a KL divergence."""
    epochs, last_lines = {}, {}
    for model in ("vae", "ae", "topk"):
        train(configure(f"model={model}", *SMALL, "pictures=false"), tmp_path / model, [])
        lines = capsys.readouterr().out.splitlines()
        (epochs[model],) = (line for line in lines if line.startswith("epoch 1/1"))
        (last_lines[model],) = (line for line in lines if line.startswith("Metrics of the final"))
    last = json.loads((tmp_path / "vae" / "metrics.jsonl").read_text().splitlines()[-1])
    assert epochs["vae"].endswith(f"  kl {last['val/penalty_raw']:.4f}")
    for model in ("vae", "ae"):
        assert "  l0 " not in epochs[model] and "  dead " not in epochs[model]
    assert "  l0 " in epochs["topk"] and "  dead " in epochs["topk"]
    run = load_run(tmp_path / "vae")
    with torch.no_grad():
        x = torch.from_numpy(run.data("val").x)
        mean = run.autoencoder(x).pre_codes.numpy()[:, : run.n_latents]
    n = int((mean.astype(np.float64).var(0) > 0.01).sum())
    assert f"; {n} of {run.n_latents} latents are active units" in last_lines["vae"]
    assert "active units" not in last_lines["ae"]
