"""The table of a sweep while its jobs finish: each is read once, and again when it has changed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sae_cli.run_folder.layout import read_summary
from sae_cli.runs.sweeps import results
from sae_cli.runs.sweeps.jobs import OneByOne, run_sweep
from sae_cli.runs.sweeps.sweep import Sweep, sweep_of
from tests.conftest import SMALL, Configure

N_JOBS = 4


@pytest.fixture
def sweep(configure: Configure, tmp_path: Path) -> Sweep:
    overrides = [[f"seed={seed}"] for seed in range(N_JOBS)]
    words = ("model=ae", "epochs=1", "pictures=false", *SMALL)
    configs = [configure(*words, *own) for own in overrides]
    return sweep_of(tmp_path / "sweep", overrides, configs)


def column(sweep: Sweep, name: str) -> list[str]:
    with (sweep.path / "results.csv").open() as file:
        return [row[name] for row in csv.DictReader(file)]


def test_a_finished_job_is_read_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of hundreds would otherwise spend its time on reading what it has read before."""
    read: Counter[str] = Counter()

    def counted(folder: Path) -> dict[str, Any]:
        read[folder.name] += 1
        return read_summary(folder)

    monkeypatch.setattr(results, "read_summary", counted)
    assert run_sweep(sweep, OneByOne()) == 0
    assert list(read.values()) == [1] * N_JOBS
    assert column(sweep, "status") == ["finished"] * N_JOBS


def test_a_job_that_has_changed_is_read_again(sweep: Sweep) -> None:
    assert run_sweep(sweep, OneByOne()) == 0
    worst = column(sweep, "job")[-1]
    summary = json.loads((sweep.path / worst / "summary.json").read_text())
    (sweep.path / worst / "summary.json").write_text(json.dumps(summary | {"val/fvu": 0.0}))
    assert results.write_results(sweep)[0]["job"] == worst
    assert column(sweep, "val/fvu")[0] == "0.0"
    (sweep.path / worst / "summary.json").unlink()
    assert column(sweep, "status") == ["finished"] * N_JOBS
    results.write_results(sweep)
    assert sorted(column(sweep, "status")) == ["finished"] * (N_JOBS - 1) + ["interrupted"]
