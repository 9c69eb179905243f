"""The table of a sweep while its jobs finish: each is read once, and again when it has changed."""

from __future__ import annotations

import csv
import json
import math
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sae_cli.core.errors import Stopped
from sae_cli.run_folder.layout import read_summary
from sae_cli.runs.sweeps import jobs, results, running
from sae_cli.runs.sweeps.jobs import OneByOne
from sae_cli.runs.sweeps.running import run_sweep
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


@pytest.mark.parametrize(("seconds", "times"), [(0.0, N_JOBS), (3600.0, 1)])
def test_the_table_waits_for_the_jobs_of_a_moment(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, seconds: float, times: int
) -> None:
    """It is written before and after the first job and at the end, and in between only so often."""
    finished: list[int] = []

    def counted(sweep: Sweep) -> list[dict[str, Any]]:
        rows = results.write_results(sweep)
        finished.append(column(sweep, "status").count("finished"))
        return rows

    for module in (jobs, running):
        monkeypatch.setattr(module, "write_results", counted)
    monkeypatch.setattr(jobs, "RESULTS_SECONDS", seconds)
    assert run_sweep(sweep, OneByOne()) == 0
    assert finished == [0, *range(1, times + 1), N_JOBS]


def test_a_sweep_that_is_stopped_leaves_its_table(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(sweep: Sweep, number: int) -> None:
        if number == 2:
            raise Stopped(signal.SIGTERM)
        run_job(sweep, number)

    run_job = jobs.run_job
    monkeypatch.setattr(jobs, "run_job", stopped)
    monkeypatch.setattr(jobs, "RESULTS_SECONDS", math.inf)
    with pytest.raises(Stopped):
        run_sweep(sweep, OneByOne())
    assert sorted(column(sweep, "status")) == ["finished"] * 2 + ["waiting"] * (N_JOBS - 2)


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
