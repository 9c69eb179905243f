"""Lists of runs: what is read of a folder, what sets runs apart, and no more than that."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sae_cli.results.listing.details import compare, read_run, show
from sae_cli.results.listing.listed import Listed, find_runs, last_metrics, read_listed
from sae_cli.results.listing.table import age, as_csv, differing, lines_of
from sae_cli.run_folder.folder import RunFolder
from tests.configured import configured
from tests.faults.test_strangers_text import TEXT, check_harmless

NOW = datetime(2026, 1, 8, tzinfo=UTC)
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes the folder of a finished run."""

    def made(name: str, *overrides: str, status: str = "finished", **metrics: Any) -> Path:
        run = RunFolder(tmp_path / "outputs" / name)
        run.path.mkdir(parents=True)
        run.write_config(configured(*overrides).as_dict())
        run.write_overrides(list(overrides))
        run.write_environment({"started": (NOW - timedelta(hours=5)).isoformat()})
        run.append_metrics({"stage": "joint", "epoch": 1, "step": 9, "val/fvu": 0.5})
        if status == "finished":
            run.write_summary({"status": "finished", "val/fvu": 0.25, "test/l0": 3.0} | metrics)
        run.set_status(status)
        return run.path

    return made


def test_a_run_is_read(make: Make) -> None:
    run = read_listed(make("one", "model=sparse_kl", "penalty.weight=0.2"))
    assert (run.status, run.model, run.data) == ("finished", "sparse_kl", "digits")
    assert (run.value("penalty"), run.value("penalty.weight")) == ("kl", 0.2)
    assert (run.value("val/fvu"), run.value("nothing"), run.value("name")) == (0.25, None, "one")
    assert age(run.started, NOW) == "5h"
    assert {"status", "penalty.weight", "val/fvu"} <= {*run.keys}


def test_a_run_that_has_not_finished_shows_its_last_evaluation(make: Make) -> None:
    path = make("one", status="failed")
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "val/fvu": 0.125}\n{"epoch": 3, "val/')
    assert read_listed(path).metrics == {"epoch": 2, "val/fvu": 0.125}
    with (path / "metrics.jsonl").open("w") as file:
        file.write("x" * 200_000 + '\n{"epoch": 7}\n')
    assert last_metrics(path) == {"epoch": 7}
    (path / "metrics.jsonl").write_text("")
    assert last_metrics(path) == {}
    (path / "metrics.jsonl").write_text("[1]\n")
    assert last_metrics(path) == {}
    (path / "metrics.jsonl").write_text("{\n")
    assert "metrics.jsonl cannot be read" in read_listed(path).fault


def test_runs_are_found_in_sweeps_and_links_are_not_followed(make: Make, tmp_path: Path) -> None:
    paths = [make("b"), make("sweep/1_seed=1"), make("sweep/0_seed=0")]
    outputs = tmp_path / "outputs"
    (outputs / "circle").symlink_to(outputs)
    (outputs / "a file").write_text("x")
    (outputs / "empty").mkdir()
    assert [*find_runs(outputs)] == [paths[0], paths[2], paths[1]]
    assert [*find_runs(paths[0])] == [paths[0]]
    assert [*find_runs(outputs, depth=1)] == [paths[0]]


def test_what_sets_runs_apart_is_of_the_same_model_and_data(make: Make) -> None:
    words = [("model=sparse_kl", f"penalty.weight={weight}") for weight in (0.1, 0.3)]
    runs = [read_listed(make(f"kl{i}", *one)) for i, one in enumerate(words)]
    runs.append(read_listed(make("ae", "model=ae", "epochs=2")))
    apart = differing(runs)
    assert apart["sparse_kl", "digits"] == ["penalty.weight"]
    assert apart["ae", "digits"] == []
    lines = lines_of(runs, [], NOW, None)
    assert lines[0].split() == ["run", "status", "model", "data", "val/fvu", "age", "settings"]
    assert [line.split()[-1] for line in lines[1:]] == [
        "penalty.weight=0.1",
        "penalty.weight=0.3",
        "5h",
    ]


def test_many_settings_are_cut_and_wished_ones_shown(make: Make) -> None:
    more = (
        "seed=1",
        "epochs=9",
        "batch_size=7",
        "unit_norm=true",
        "clip_norm=1",
        "penalty.weight=9",
    )
    other = ("optimizer=sgd", "corruption=gaussian")
    runs = [read_listed(make("a")), read_listed(make("b", *more, *other))]
    lines = lines_of(runs, ["seed"], NOW, None)
    assert "seed" in lines[0].split() and lines[2].rstrip().endswith("more)")


def test_csv_has_every_metric_and_what_differs(make: Make) -> None:
    runs = [read_listed(make("a", "seed=1")), read_listed(make("b", status="failed"))]
    rows = list(csv.DictReader(as_csv(runs).splitlines()))
    assert [row["seed"] for row in rows] == ["1", "0"]
    assert [row["test/l0"] for row in rows] == ["3.0", ""]
    assert [row["val/fvu"] for row in rows] == ["0.25", "0.5"]
    assert "epochs" not in rows[0]


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1min"),
        (7199, "1h"),
        (86400, "1d"),
        (864000, "10d"),
        (-5, "0s"),
    ],
)
def test_ages(seconds: int, word: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == word
    assert age(None, NOW) == "-"


def test_damaged_runs_are_listed(make: Make) -> None:
    path = make("one")
    for content in ("", "[1]", "a: *b", "seed: " + "9" * 5000, "\x00"):
        (path / "config.yaml").write_text(content)
        run = read_listed(path)
        assert run.status == "damaged" and "config.yaml" in run.fault
        lines = lines_of([run], [], NOW, 80)
        assert lines[-1] == f"{path}: {run.fault}"


def test_values_of_a_stranger_are_shown_as_they_stand(make: Make) -> None:
    path = make("one")
    page = (path / "config.yaml").read_text().replace("seed: 0", "seed: {a: [.nan, 2001-01-01]}")
    page = page.replace("model: sparse_kl", f"model: {json.dumps(TEXT)}")
    (path / "config.yaml").write_text(page)
    summary = {"val/fvu": "text", TEXT: 1e999, "val/l0": 10**400, "b": True}
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "environment.json").write_text('{"started": ["x"]}')
    run = read_listed(path)
    assert run.started is None and run.metrics["val/fvu"] is None
    assert run.metrics["val/l0"] is None
    for line in (*lines_of([run, run], [], NOW, 80), *as_csv([run]).splitlines()):
        check_harmless(line)
    [*show(run)]
    [*compare(run, read_listed(make("two")), 80)]


def test_a_cell_is_no_formula(make: Make) -> None:
    path = make("one")
    page = (path / "config.yaml").read_text().replace("model: sparse_kl", "model: '=1+1'")
    (path / "config.yaml").write_text(page)
    (row,) = csv.DictReader(as_csv([read_listed(path)]).splitlines())
    assert row["model"] == "'=1+1"


def test_pictures_and_differences_side_by_side(make: Make) -> None:
    one, other = make("one", "seed=1"), make("two", "seed=2", "penalty=l1", status="interrupted")
    for path in (one, other):
        (path / "pictures").mkdir()
        (path / "pictures" / "atoms.png").touch()
    (one / "pictures" / "samples.png").touch()
    lines = [*compare(read_run(one), read_run(other), 80)]
    cells = [line.split() for line in lines]
    assert ["seed", "1", "2"] in cells and ["penalty", "kl", "l1"] in cells
    assert ["val/fvu", "0.2500", "0.5000"] in cells
    # The names stand there once, and each below who has it.
    both, alone = lines.index("pictures of both, in pictures/:"), len(lines) - 2
    assert lines[both + 1] == "atoms.png"
    assert lines[alone:] == ["pictures of A alone, in pictures/:", "samples.png"]
    assert not any(line.startswith("epochs") for line in lines)
    shown = [*show(read_run(other))]
    assert shown[0].startswith(f"{other}: interrupted, begun 2026-01-07T19:00:00")
    assert any(line.startswith("resume: sae-train resume=") for line in shown)


def test_lists_do_not_wait_for_torch() -> None:
    code = (
        "import sys, sae_cli.commands.runs, sae_cli.results.listing.table, "
        "sae_cli.results.listing.conditions, sae_cli.results.listing.details; "
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_each_run_costs_a_few_files(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 000 folders in a few seconds: no file is read that the list does not show."""
    path = make("one")
    (path / "model.safetensors").write_bytes(b"x")
    (path / "checkpoints").mkdir()
    opened: list[str] = []
    real = os.open

    def keep(file: Any, *how: Any, **more: Any) -> int:
        opened.append(os.path.basename(str(file)))
        return real(file, *how, **more)

    monkeypatch.setattr(os, "open", keep)
    run: Listed = read_listed(path)
    assert run.status == "finished"
    assert len(opened) <= 6 and {*opened} == {
        *("status.json", "summary.json", "config.yaml", "environment.json"),
    }
