"""Searches, run: their jobs, what Optuna is told, pruning, failures, kills."""

from __future__ import annotations

import csv
import json
import math
import shlex
import shutil
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from sae_cli.run_folder.layout import read_metrics, status_of
from tests.conftest import CHECKOUT, SMALL, Command, fresh_command, slow
from tests.documents.test_commands import command_lines
from tests.forked import Forked

WEIGHT = "penalty.weight=tag(log,interval(1e-3,1))"
ASKED = ("-m", "hydra/sweeper=optuna", "model=sparse_l1", "dataset.test=1500", "pictures=false")
OPTIONS = ("hydra.sweeper.n_trials=6", "hydra.sweeper.n_startup_trials=2", "quiet=true")
FVU = "objective=val/fvu"
WORDS = (*ASKED, *OPTIONS, WEIGHT, FVU, "epochs=8", "report=false", "hydra.sweep.dir=sweep")
N = 6
MLFLOW = {"mlflow": {"log_every": 50, "tracking_uri": "http://elsewhere"}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search, never stopped."""
    folder = tmp_path_factory.mktemp("whole ?#%41")
    assert Forked(folder)(*WORDS).err == ""
    return folder / "sweep"


def rows_of(sweep: Path) -> list[dict[str, str]]:
    """The rows of ``results.csv``, in the order of their jobs."""
    with (sweep / "results.csv").open() as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["job"].partition("_")[0]))


def trials_of(sweep: Path, tmp_path: Path) -> list[Any]:
    """What Optuna itself reads; from another place, because it takes a path for a URL."""
    (tmp_path / "copy.db").write_bytes((sweep / "optuna.db").read_bytes())
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path}/copy.db")
    assert not (sweep / "optuna.db-journal").exists()
    return list(study.trials)


def test_jobs_are_those_of_a_sweep_and_trials_those_of_optuna(whole: Path, tmp_path: Path) -> None:
    rows = rows_of(whole)
    trials = trials_of(whole, tmp_path)
    assert [trial.number for trial in trials] == list(range(N)) == [*range(len(rows))]
    for trial, row in zip(trials, rows, strict=True):
        assert trial.state.name == "COMPLETE"
        assert trial.user_attrs == {"job": row["job"]}
        assert trial.values == [float(row["val/fvu"])]
        weight = yaml.safe_load((whole / row["job"] / "config.yaml").read_text())["penalty"]
        assert trial.params["penalty.weight"] == weight["weight"] == float(row["penalty.weight"])
        assert 1e-3 <= weight["weight"] <= 1
        lines = read_metrics(whole / row["job"])
        assert trial.intermediate_values == {line["epoch"]: line["val/fvu"] for line in lines[1:]}
    assert len({row["penalty.weight"] for row in rows}) == N


def check_same(sweep: Path, whole: Path) -> None:
    for name in ("results.csv", "sweep.yaml"):
        assert (sweep / name).read_bytes() == (whole / name).read_bytes()
    for row in rows_of(whole):
        for name in ("model.safetensors", "metrics.jsonl", "config.yaml"):
            assert (sweep / row["job"] / name).read_bytes() == (
                whole / row["job"] / name
            ).read_bytes()


def under_way(sweep: Path, number: int) -> Path | None:
    for metrics in sweep.glob(f"{number}_*/metrics.jsonl"):
        if metrics.read_text().count("\n") > 2:
            return metrics.parent
    return None


@pytest.mark.parametrize("again", [("resume=sweep",), *slow([WORDS])])
def test_killed_and_resumed_it_makes_the_same_jobs(
    tmp_path: Path, whole: Path, again: tuple[str, ...]
) -> None:
    with Forked(tmp_path).start(*WORDS) as started:
        stopped = started.until(partial(under_way, tmp_path / "sweep", 3))
    assert status_of(stopped) != "finished"
    # A process that is killed while SQLite writes leaves this.
    (tmp_path / "sweep" / "optuna.db-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" * 600)
    done = Forked(tmp_path)(*again)
    assert (done.code, done.err) == (0, "")
    check_same(tmp_path / "sweep", whole)
    assert len(trials_of(tmp_path / "sweep", tmp_path)) == N
    logs = [(tmp_path / "sweep" / row["job"] / "train.log").read_text() for row in rows_of(whole)]
    assert sum("resumed at step" in log for log in logs) == 1


@pytest.mark.parametrize("words", [WORDS, ("resume=sweep",)])
def test_its_jobs_are_in_no_group(tmp_path: Path, whole: Path, words: tuple[str, ...]) -> None:
    shutil.copytree(whole, tmp_path / "sweep")
    done = Forked(tmp_path)(*words, "sweep.together=on")
    assert done.code == 2
    assert done.error.startswith("error: sweep.together=on: a search learns from each job before")


@pytest.mark.slow
def test_side_by_side_it_makes_the_same_jobs(tmp_path: Path) -> None:
    # At the end of a process that was forked, joblib's workers would be waited for.
    command = fresh_command(tmp_path)
    batches = (*WORDS[:-1], "hydra.sweeper.n_jobs=2")
    done = command(*batches, "hydra.sweep.dir=one")
    assert done.returncode == 0, done.stderr
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = command(*batches, "hydra.sweep.dir=two", *parallel)
    assert done.returncode == 0, done.stderr
    check_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_more_trials_are_asked_for(command: Command, tmp_path: Path, whole: Path) -> None:
    fewer = [word.replace("n_trials=6", "n_trials=4") for word in WORDS]
    assert command(*fewer).returncode == 0
    assert len(rows_of(tmp_path / "sweep")) == 4
    assert command(*WORDS).returncode == 0
    check_same(tmp_path / "sweep", whole)
    done = command(*fewer)
    assert done.returncode == 2
    assert "hydra.sweeper.n_trials=4: the search in sweep has begun 6 jobs" in done.stderr
    done = command(*WORDS, "hydra.sweeper.sampler=random")
    assert done.returncode == 2
    assert "options.sampler: tpe then, random now" in done.stderr


def test_jobs_below_the_median_are_pruned(command: Command, tmp_path: Path) -> None:
    words = [word.replace("n_trials=6", "n_trials=8") for word in WORDS]
    done = command(*words, "hydra.sweeper.pruner=median")
    assert (done.returncode, done.stderr) == (0, "")
    sweep = tmp_path / "sweep"
    rows = rows_of(sweep)
    curves = [
        {line["epoch"]: line["val/fvu"] for line in read_metrics(sweep / row["job"])[1:]}
        for row in rows
    ]
    pruned = [number for number, row in enumerate(rows) if row["status"] == "pruned"]
    assert pruned and len(pruned) < len(rows) - 2
    for number, curve in enumerate(curves):
        finished = [curves[n] for n in range(number) if rows[n]["status"] == "finished"]
        for epoch in range(1, 8 if len(finished) >= 2 else 1):
            if epoch in curve:
                best = min(curve[one] for one in range(1, epoch + 1))
                is_last = number in pruned and epoch == max(curve)
                assert is_last == (best > statistics.median(one[epoch] for one in finished))
    states = [trial.state.name for trial in trials_of(sweep, tmp_path)]
    assert [n for n, state in enumerate(states) if state == "PRUNED"] == pruned
    assert f"{8 - len(pruned)} of 8 jobs finished, {len(pruned)} pruned" in done.stdout
    # Nothing is done again, and by hand it is trained on.
    job = sweep / rows[pruned[0]]["job"]
    before = (job / "status.json").read_text()
    assert "is worse than the median" in json.loads(before)["error"]
    assert command("resume=sweep").returncode == 0
    assert (job / "status.json").read_text() == before
    assert command(f"resume={job.relative_to(tmp_path)}").returncode == 0
    assert status_of(job) == "finished" == rows_of(sweep)[pruned[0]]["status"]
    assert read_metrics(job)[-1]["epoch"] == 8


def test_the_front_of_several_objectives(command: Command, tmp_path: Path) -> None:
    objectives = ("val/fvu", "val/l0", "val/dead_latents")
    words = (*ASKED, WEIGHT, *OPTIONS[:-1], "epochs=2", "report=false", "hydra.sweep.dir=sweep")
    done = command(*words, f"objective=[{','.join(objectives)}]")
    assert done.returncode == 0, done.stderr
    points = [tuple(float(row[name]) for name in objectives) for row in rows_of(tmp_path / "sweep")]
    front = {
        n
        for n, one in enumerate(points)
        if not any(
            all(a <= b for a, b in zip(other, one, strict=True)) and other != one
            for other in points
        )
    }
    lines = done.stdout.splitlines()
    # The header of the table is the last of these lines.
    start = max(n for n, line in enumerate(lines) if line.startswith("job "))
    table = [line.split() for line in lines[start + 1 : start + 1 + N]]
    # What all jobs share is said once, above the table.
    every = any(line.startswith("all: ") and "front=*" in line for line in lines)
    assert {int(line[0]) for line in table if every or "*" in line} == front
    assert [int(line[0]) in front for line in table] == sorted(
        (int(line[0]) in front for line in table), reverse=True
    )
    study_trials = trials_of(tmp_path / "sweep", tmp_path)
    assert [tuple(trial.values) for trial in study_trials] == points


def test_jobs_that_diverge_are_failed_trials(command: Command, tmp_path: Path) -> None:
    rate = "optimizer.learning_rate=tag(log,interval(1e-3,1e30))"
    done = command(
        *ASKED, *OPTIONS, rate, FVU, "optimizer=sgd", "epochs=1", "hydra.sweep.dir=sweep"
    )
    assert done.returncode == 1
    rows = rows_of(tmp_path / "sweep")
    assert len(rows) == N
    failed = [row["status"] == "failed" for row in rows]
    assert any(failed)
    states = [trial.state.name for trial in trials_of(tmp_path / "sweep", tmp_path)]
    assert states == ["FAIL" if one else "COMPLETE" for one in failed]


def test_whole_numbers_and_pages(command: Command, tmp_path: Path) -> None:
    words = ("architecture.n_latents=interval(4,9)", "batch_size=range(32,97,32)")
    done = command(
        *ASKED, *OPTIONS, *words, "activation=relu,softplus", "objective=val/loss", "epochs=1",
        "hydra.sweep.dir=sweep", "report=false",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "sweep")
    assert {int(row["architecture.n_latents"]) for row in rows} <= set(range(4, 10))
    assert {int(row["batch_size"]) for row in rows} <= {32, 64, 96}
    assert {row["activation"] for row in rows} == {"relu", "softplus"}
    for row in rows:
        config = yaml.safe_load((tmp_path / "sweep" / row["job"] / "config.yaml").read_text())
        assert config["activation"]["name"] == row["activation"]
        assert config["architecture"]["n_latents"] == int(row["architecture.n_latents"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda content: content.update(search=3), "(its search: must have names, {NAME:VALUE})"),
        (lambda content: content["search"].update(objectives=[]), "is damaged (its search"),
        (lambda content: content["search"].update(objectives=["x"]), "x is not a metric"),
        (
            lambda content: content["search"]["options"].update(n_trials="x"),
            "(its search: options.n_trials: must be a whole number)",
        ),
        (lambda content: content.update(bases=[]), "it has no jobs"),
        (lambda content: content.update(bases=[1]), "is damaged"),
        (lambda content: content["search"]["dimensions"][0].update(key="logger"), "is damaged"),
        (lambda content: content["search"]["dimensions"][0].update(high=1e-5), "of the search"),
        (lambda content: content["jobs"][1].update(overrides=["seed=1"]), "of the search"),
        (lambda content: content["jobs"][1]["overrides"].append("seed=1"), "of the search"),
        (lambda content: content.update(jobs=[]), "it has no jobs"),
        (lambda content: content["bases"][0]["config"].update(logger=MLFLOW), "is not followed"),
    ],
)
def test_a_search_from_a_stranger(
    command: Command, tmp_path: Path, whole: Path, change: Any, says: str
) -> None:
    content = yaml.safe_load((whole / "sweep.yaml").read_text())
    change(content)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.yaml").write_text(yaml.safe_dump(content))
    done = command("resume=sweep")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert says in line


def test_a_storage_that_leads_elsewhere(command: Command, tmp_path: Path, whole: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.yaml").write_bytes((whole / "sweep.yaml").read_bytes())
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "sweep" / "optuna.db").symlink_to(tmp_path / "mine")
    done = command("resume=sweep")
    assert done.returncode == 2
    assert "optuna.db" in done.stderr
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.slow
def test_the_searches_of_the_documentation_run(tmp_path: Path) -> None:
    command = fresh_command(tmp_path)
    page = (CHECKOUT / "docs" / "sweeps.md").read_text()
    lines = [line for line, _ in command_lines(page) if "hydra/sweeper=optuna" in line]
    assert len(lines) == 3
    for line in lines:
        short = (*SMALL, "pictures=false", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=sweep")
        done = command(*shlex.split(line)[1:], *short)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(trials_of(tmp_path / "sweep", tmp_path)) == 2
        assert not math.isnan(float(rows_of(tmp_path / "sweep")[0]["val/fvu"]))
        (tmp_path / "sweep").rename(tmp_path / f"was {len(list(tmp_path.iterdir()))}")
