"""A measure without a value, and what stands beside those that are easily misread."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from sae_cli import load_run
from sae_cli.config.schema import RunConfig
from sae_cli.results.gather import gather, rows
from sae_cli.results.markdown import NOTHING, page
from sae_cli.results.notes import threshold_notes, undefined_notes
from sae_cli.run_folder.layout import read_metrics
from sae_cli.runs.reproduce import reproduce
from sae_cli.runs.resume import resume
from sae_cli.runs.sweeps.results import write_results
from sae_cli.runs.sweeps.results_table import results_table
from sae_cli.runs.sweeps.sweep import sweep_of
from sae_cli.runs.train import train
from tests.conftest import SMALL, Configure


@pytest.fixture
def alike(configure: Configure, tmp_path: Path) -> RunConfig:
    """Rows that differ in training and are all alike in validation and test."""
    x = np.random.default_rng(0).random((100, 6), np.float32)
    x[80:] = 0.1
    np.save(tmp_path / "x.npy", x)
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.shuffle_seed=null")
    return configure("model=ae", *data, "epochs=1", "device=cpu", "progress=false")


def test_fvu_of_rows_that_are_alike_is_null_everywhere(
    alike: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(alike, tmp_path / "run", [])
    printed = capsys.readouterr().out
    assert "  fvu -" in printed
    note = "val/fvu, test/fvu: - is no value; fvu has none where all examples of a split are alike."
    assert note in printed.splitlines()
    assert [line["val/fvu"] for line in read_metrics(tmp_path / "run")] == [None, None]
    run = load_run(tmp_path / "run")
    assert run.summary["val/fvu"] is None and run.summary["test/fvu"] is None
    assert run.summary["train/fvu"] > 0.0
    assert (tmp_path / "run" / "pictures" / "loss_curves.png").is_file()
    found, _ = gather([tmp_path / "run"])
    text = page(rows(found), found, 0, "sae-report")
    assert f"`val/fvu`: {NOTHING} is no value; fvu has none" in text
    assert reproduce(tmp_path / "run", tmp_path / "again", {})


def test_a_run_without_fvu_resumes(alike: RunConfig, tmp_path: Path) -> None:
    config = alike.changed({"pictures": False})
    train(config, tmp_path / "run", [])
    resume(tmp_path / "run", {"epochs": 2})
    train(config.changed({"epochs": 2}), tmp_path / "straight", [])
    one, two = (tmp_path / name / "metrics.jsonl" for name in ("run", "straight"))
    assert one.read_bytes() == two.read_bytes()


def test_a_job_without_fvu_does_not_win(
    alike: RunConfig, configure: Configure, tmp_path: Path
) -> None:
    plain = alike.changed({"pictures": False})
    configs = [plain, configure("model=sparse_kl", *SMALL, "pictures=false")]
    sweep = sweep_of(tmp_path, [["model=ae"], ["model=sparse_kl"]], configs)
    for job in sweep.jobs:
        train(job.config, tmp_path / job.folder, job.overrides)
    table = results_table(sweep, write_results(sweep), ["model"], None)
    with (tmp_path / "results.csv").open() as file:
        ranked = [(row["model"], row["val/fvu"] == "") for row in csv.DictReader(file)]
    assert ranked == [("sparse_kl", False), ("ae", True)]
    header, first, last = (re.split("  +", line) for line in table[2:5])
    activity = json.loads((tmp_path / sweep.jobs[1].folder / "summary.json").read_text())
    assert dict(zip(header, first, strict=True))["val/mean_activity"] == (
        f"{activity['val/mean_activity']:.4f}"
    )
    assert dict(zip(header, first, strict=True))["penalty.target"] == "0.1"
    assert dict(zip(header, last, strict=True))["penalty.target"] == "-"
    # A linear code is never 0, so nothing is counted of it.
    assert dict(zip(header, first, strict=True))["val/dead_latents (code > 0.1)"] != "-"
    assert dict(zip(header, last, strict=True))["val/dead_latents (code > 0.1)"] == "-"
    assert not any("val/l0" in name for name in header)
    assert table[5:] == [
        "val/fvu: - is no value; fvu has none where all examples of a split are alike.",
    ]


def test_a_target_stands_beside_the_mean_activity(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = train(
        configure("model=sparse_kl", "penalty.target=0.15", *SMALL, "pictures=false"),
        tmp_path / "run",
        [],
    )
    lines = capsys.readouterr().out.splitlines()
    activity = f"{summary['val/mean_activity']:.4f}"
    assert any(line.endswith(f"  mean activity {activity} (target 0.15)") for line in lines)
    (row,) = [line for line in lines if line.startswith("mean_activity")]
    assert row.startswith("mean_activity (target 0.15)") and activity in row.split()


def test_a_penalty_without_a_target_shows_none(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(configure("model=sparse_l1", *SMALL, "pictures=false"), tmp_path / "run", [])
    assert "target" not in capsys.readouterr().out


def test_a_report_of_l0_says_what_it_counts(configure: Configure, tmp_path: Path) -> None:
    entry = {"metric": "val/l0", "value": None, "tolerance": None, "source": "somewhere"}
    config = configure("model=sparse_kl", *SMALL, "pictures=false")
    train(config.changed({"published": [entry]}), tmp_path / "run", [])
    found, _ = gather([tmp_path / "run"])
    text = page(rows(found), found, 0, "sae-report")
    assert "For l0 and dead_latents, a code is active when its magnitude exceeds 0.1." in text


def test_notes_are_left_out_where_there_is_nothing_to_say() -> None:
    assert threshold_notes([("a", None)]) == []
    assert undefined_notes([("val/fvu", 0.0), ("val/l0", 3)], "-") == []


def test_small_values_train_and_are_measured(configure: Configure, tmp_path: Path) -> None:
    """In SI units: the squares of small errors vanish in float32."""
    x = np.random.default_rng(0).normal(0, 1e-22, (100, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    data = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.shuffle_seed=null")
    summary = train(
        configure("model=sparse_coding", *data, "epochs=1", "pictures=false", "progress=false"),
        tmp_path / "run",
        [],
    )
    run, test = load_run(tmp_path / "run"), x[90:]
    error = np.square(np.asarray(run.decode(run.encode(test)), float) - test.astype(float))
    variation = np.square(test.astype(float) - test.astype(float).mean(0))
    assert summary["test/mse"] == pytest.approx(error.mean(), rel=1e-6, abs=0.0)
    assert summary["test/fvu"] == pytest.approx(error.sum() / variation.sum(), rel=1e-6)
