"""The table of a sweep: what stands in one column, seeds, and what comes first."""

from __future__ import annotations

import csv
import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae_cli.config.schema import RunConfig
from sae_cli.runs.sweeps.results import varied_keys, write_results
from sae_cli.runs.sweeps.results_table import results_table
from sae_cli.runs.sweeps.standing import standing
from sae_cli.runs.sweeps.sweep import Sweep, sweep_of
from tests.conftest import Configure

Summaries = list[dict[str, float] | None]


def metrics(fvu: float | None, l0: float = 3.0, activity: float = 0.2) -> dict[str, Any]:
    return {
        **{"active_above": 0.0, "val/loss": 1.0, "val/fvu": fvu, "val/l0": l0, "seconds": 60.0},
        **{"val/mean_activity": activity, "val/dead_latents": 1, "val/penalty_raw": 2.0},
    }


def finish(folder: Path, summary: dict[str, float] | None) -> None:
    """Leave what a job leaves that has ended; None for one that has failed."""
    folder.mkdir(parents=True)
    status = "finished" if summary is not None else "failed"
    (folder / "status.json").write_text(json.dumps({"status": status}))
    (folder / "config.yaml").write_text("{}")
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))


def sweep_with(
    path: Path, configure: Configure, jobs: list[list[str]], summaries: Summaries
) -> Sweep:
    """A sweep whose jobs have left these summaries; those beyond them wait."""
    configs: list[RunConfig] = [configure(*words) for words in jobs]
    sweep = sweep_of(path, jobs, configs)
    for job, summary in zip(sweep.jobs, summaries, strict=False):
        finish(path / job.folder, summary)
    return sweep


def shown(sweep: Sweep) -> tuple[str, list[dict[str, str]], list[str]]:
    """The line on the order, the rows by header, and the notes."""
    varied = varied_keys([job.overrides for job in sweep.jobs])
    blank, order, header, *lines = results_table(sweep, write_results(sweep), varied, None)
    assert blank == ""
    # The columns are as wide as their header and cells, with two blanks between.
    ends = [found.end() for found in re.finditer(r"\S+(?: \S+)*(?=  |$)", header)]
    names = re.split("  +", header)
    rows, notes = [], []
    for line in lines:
        if not re.match(r"\d", line):
            notes.append(line)
            continue
        # The first column is aligned to the left, and may be wider than its header.
        first = re.split("  ", line)[0]
        starts = [len(first), *ends[1:-1]]
        cells = [first, *(line[a:b].strip() for a, b in zip(starts, ends[1:], strict=True))]
        rows.append(dict(zip(names, cells, strict=True)))
    return order, rows, notes


WEIGHTS = ("0.01", "0.05", "0.2", "1.0")


def test_the_front_of_a_swept_weight_comes_first(configure: Configure, tmp_path: Path) -> None:
    """The weakest penalty has the best fvu, and no claim to the first line."""
    points = [(0.10, 30.0), (0.40, 35.0), (0.30, 12.0), (0.80, 4.0)]
    jobs = [["model=sparse_l1", f"penalty.weight={weight}"] for weight in WEIGHTS]
    sweep = sweep_with(tmp_path, configure, jobs, [metrics(fvu, l0) for fvu, l0 in points])
    order, rows, notes = shown(sweep)
    on_front = {
        number
        for number, (fvu, l0) in enumerate(points)
        if not any(a <= fvu and b <= l0 and (a, b) != (fvu, l0) for a, b in points)
    }
    assert on_front == {0, 2, 3}
    assert [(row["job"], row["front"]) for row in rows] == [
        *(("3", "*"), ("2", "*"), ("0", "*"), ("1", "")),
    ]
    assert order.startswith("front (*) first, its sparsest on top, then by val/fvu: no other ")
    assert "val/l0 (code > 0) and val/fvu" in order
    assert [row["val/l0 (code > 0)"] for row in rows] == ["4.0000", "12.0000", "30.0000", "35.0000"]
    # A weight changes what the loss means.
    assert "val/loss" not in rows[0]
    assert notes == []
    with (tmp_path / "results.csv").open() as file:
        complete = list(csv.DictReader(file))
    assert [row["job"][0] for row in complete] == ["0", "2", "1", "3"]
    assert "val/loss" in complete[0] and "val/penalty_raw" in complete[0]


@pytest.mark.parametrize("metric", ["val/fvu", "val/l0", "train/loss"])
def test_an_explicit_metric_wins(metric: str, configure: Configure, tmp_path: Path) -> None:
    jobs = [["model=sparse_l1", f"penalty.weight={w}", f"sort_by={metric}"] for w in WEIGHTS]
    random = np.random.default_rng(0)
    values = random.random(4)
    found: Summaries = [metrics(0.5) | {metric: float(value)} for value in values]
    order, rows, _ = shown(sweep_with(tmp_path, configure, jobs, found))
    assert order == f"best first by {metric}"
    assert [row["job"] for row in rows] == [str(number) for number in np.argsort(values)]
    assert "front" not in rows[0]


def test_models_that_count_otherwise_have_columns_of_their_own(
    configure: Configure, tmp_path: Path
) -> None:
    pairs = [*product(("sparse_l1", "sparse_kl"), ("0.1", "0.3"))]
    jobs = [[f"model={model}", f"penalty.weight={weight}"] for model, weight in pairs]
    found: Summaries = [
        *(metrics(0.3, 20.0), metrics(0.5, 10.0)),
        *(metrics(0.6, 60.0, 0.3) | {"active_above": 0.1} for _ in range(2)),
    ]
    order, rows, _ = shown(sweep_with(tmp_path, configure, jobs, found))
    assert "of those with one measure of sparsity no other is as low in it" in order
    for row in rows:
        kl = row["model"] == "sparse_kl"
        assert (row["val/l0 (code > 0)"] == "-") == kl
        assert (row["val/mean_activity"] == "-") != kl
        assert row["penalty.target"] == ("0.1" if kl else "-")
        assert (row["val/dead_latents (code > 0)"] == "-") == kl
        assert (row["val/dead_latents (code > 0.1)"] == "-") != kl
    assert not any(name == "val/l0" for name in rows[0])
    with (tmp_path / "results.csv").open() as file:
        targets = {row["model"]: row["penalty.target"] for row in csv.DictReader(file)}
    assert targets == {"sparse_l1": "", "sparse_kl": "0.1"}


def test_seeds_are_gathered_as_numpy_does(configure: Configure, tmp_path: Path) -> None:
    pairs = [*product(("0.01", "0.2"), range(5))]
    jobs = [["model=sparse_l1", f"penalty.weight={w}", f"seed={seed}"] for w, seed in pairs]
    values = np.random.default_rng(1).random((10, 2))
    found: Summaries = [metrics(float(fvu), float(l0)) for fvu, l0 in values]
    found[4] = None
    order, rows, _ = shown(sweep_with(tmp_path, configure, jobs, found))
    assert order.endswith("; mean +- standard deviation over seeds")
    assert len(rows) == 2 and "seed" not in rows[0]
    for row in rows:
        few = row["penalty.weight"] == "0.01"
        own = values[:4] if few else values[5:]
        assert row["seeds"] == ("4" if few else "5")
        assert row["status"] == ("4 finished, 1 failed" if few else "finished")
        assert row["job"] == ("0, 1, ..., 4" if few else "5, 6, ..., 9")
        for column, name in enumerate(("val/fvu", "val/l0 (code > 0)")):
            mean, sd = np.mean(own[:, column]), np.std(own[:, column], ddof=1)
            assert row[name] == f"{mean:.4f} +- {sd:.4f}"


def test_a_sweep_of_seeds_alone_is_one_line(configure: Configure, tmp_path: Path) -> None:
    jobs = [["model=ae", f"seed={seed}"] for seed in range(3)]
    found: Summaries = [metrics(fvu) for fvu in (0.1, 0.2, 0.4)]
    order, (row,), _ = shown(sweep_with(tmp_path, configure, jobs, found))
    assert order == "best first by val/fvu; mean +- standard deviation over seeds"
    assert (row["job"], row["seeds"], row["status"]) == ("0, 1, 2", "3", "finished")
    # The jobs have one loss, which can be compared.
    assert row["val/loss"] == "1.0000 +- 0.0000"


def test_how_far_a_sweep_is(configure: Configure, tmp_path: Path) -> None:
    """Numbers of jobs are those of their folders."""
    jobs = [["model=ae", f"batch_size={size}"] for size in (8, 16, 32, 64)]
    sweep = sweep_with(tmp_path, configure, jobs, [metrics(0.5), metrics(0.25)])
    (_, best, *_) = (job.folder for job in sweep.jobs)
    assert best.startswith("1_")
    assert standing(sweep, write_results(sweep)) == (
        "2 of 4 jobs done; lowest val/fvu so far 0.2500 (job 1); about 2 min left"
    )
    finish(tmp_path / sweep.jobs[2].folder, None)
    finish(tmp_path / sweep.jobs[3].folder, metrics(0.5))
    assert standing(sweep, write_results(sweep)) is None


def test_an_earlier_sweep_that_sorts_by_fvu_is_the_same(
    configure: Configure, tmp_path: Path
) -> None:
    from sae_cli.runs.sweeps.sweep import check_same

    jobs = [["model=ae", f"seed={seed}"] for seed in range(2)]
    now = sweep_with(tmp_path, configure, jobs, [])
    earlier = [config.changed({"sort_by": "val/fvu"}) for config in (j.config for j in now.jobs)]
    check_same(sweep_of(tmp_path, jobs, earlier), now)


def test_it_fits_a_terminal(configure: Configure, tmp_path: Path) -> None:
    """Two models, weights and seeds: what matters stays, and what leaves is named."""
    pairs = [*product(("sparse_l1", "vae"), ("0.01", "0.2"), range(2))]
    jobs = [[f"model={m}", f"penalty.weight={w}", f"seed={seed}"] for m, w, seed in pairs]
    found: Summaries = [metrics(0.1 * n, 9.0 - n) for n in range(len(jobs))]
    sweep = sweep_with(tmp_path, configure, jobs, found)
    rows, varied = write_results(sweep), ["model", "penalty.weight", "seed"]
    for width in (60, 80, 100):
        lines = results_table(sweep, rows, varied, width)
        assert all(len(line) <= width for line in lines)
        (shared,) = (line for line in lines if line.startswith("all: "))
        assert shared.startswith("all: seeds=2, status=finished")
        (header,) = (line for line in lines if line.startswith("job "))
        names = header.split()
        assert names[:3] == ["job", "model", "weight"] and "fvu" in names
        said = " ".join(lines)
        for name in ("weight = penalty.weight", "fvu = val/fvu"):
            assert name in said
        # Every column is there, said once, or named.
        for name in ("val/l0 (code > 0)", "val/penalty_raw (penalty=gaussian_kl)"):
            assert name in said
        if "hidden:" in said:
            assert "results.csv has all" in said
