"""``sae-runs``: lists, one run, two runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sae_cli.runs.train import train
from tests.configured import configured
from tests.conftest import SMALL
from tests.faults.runs import contents, stop
from tests.faults.test_strangers_text import SHOWN, TEXT, check_harmless
from tests.forked import Forked

WORDS = (*SMALL, "pictures=false", "device=cpu")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cwd") / "outputs"
    for weight in (0.01, 0.5):
        train(
            configured("model=sparse_kl", f"penalty.weight={weight}", *WORDS),
            path / f"{weight}",
            [],
        )
    train(configured("model=ae", *WORDS), path / "ae", [])
    stop(configured("model=vae", *WORDS, "epochs=3"), path / "stopped", 6)
    return path


@pytest.fixture
def listing(outputs: Path) -> Forked:
    return Forked(outputs.parent, "sae_runs")


def test_a_list(listing: Forked, outputs: Path) -> None:
    before = contents(outputs)
    done = listing()
    assert (done.code, done.err) == (0, "4 runs\n")
    shared, header, *rows = (line.split() for line in done.out.splitlines())
    # Their ages may be alike, too.
    assert shared[:2] in (["all:", "data=digits"], ["all:", "data=digits,"])
    assert header[:3] == ["run", "status", "model"]
    assert all(len(line) <= 80 for line in done.out.splitlines())
    notes = [rows.pop(), rows.pop()]
    assert [note[0] for note in notes] == ["hidden:", "run"] and "outputs/...," in notes[1]
    # In the order in which they began.
    assert [row[0] for row in rows] == ["0.01", "0.5", "ae", "stopped"]
    assert [row[1] for row in rows] == ["finished"] * 3 + ["interrupted"]
    header, *rows = (line.split() for line in listing("--wide").out.splitlines())
    assert header[:4] == ["run", "status", "model", "data"] and header[-2:] == ["age", "settings"]
    assert [row[-1] for row in rows[:2]] == ["penalty.weight=0.01", "penalty.weight=0.5"]
    assert contents(outputs) == before


def test_conditions_and_orders(listing: Forked) -> None:
    done = listing("outputs", "--where", "model=sparse_kl and penalty.weight>0.1")
    assert (done.code, done.err) == (0, "1 run of 4\n")
    assert done.out.splitlines()[1].startswith("outputs/0.5 ")
    ordered = listing("--sort", "val/fvu", "--where", "val/fvu>0", "--csv")
    rows = list(csv.DictReader(ordered.out.splitlines()))
    values = [float(row["val/fvu"]) for row in rows]
    assert len(values) == 4 and values == sorted(values)
    for words, wanted in ((["--reverse"], ["0.5", "0.2", "0.01"]), ([], ["0.01", "0.2", "0.5"])):
        back = listing("--sort=penalty.weight", "--csv", *words)
        weights = [row["penalty.weight"] for row in csv.DictReader(back.out.splitlines())]
        # Runs without one come last, whatever the order.
        assert weights == [*wanted, ""]
    none = listing("--where", "seed=99")
    assert (none.code, none.err) == (0, "0 runs of 4\n")


def test_one_run_and_two(listing: Forked) -> None:
    shown = listing("show", "outputs/stopped")
    assert shown.code == 0
    assert shown.out.startswith("outputs/stopped: interrupted, begun ")
    assert "resume: sae-train resume=outputs/stopped" in shown.out
    both = listing("compare", "outputs/0.01", "outputs/0.5")
    assert both.code == 0
    assert any(line.split() == ["penalty.weight", "0.01", "0.5"] for line in both.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (
            ["--where", "modl=ae"],
            "no run has a setting or metric of that name; did you mean model?",
        ),
        (["--where", "model="], "a value after model= is missing"),
        (["--sort", "val/fvv"], "did you mean val/fvu?"),
        (["--sort"], "--sort needs a value"),
        (["--nope"], "--nope is not an option"),
        (["show"], "sae-runs show takes the folder of one run, given 0"),
        (["show", "outputs"], "outputs holds runs; give one of them, such as outputs/"),
        (["compare", "outputs/ae"], "sae-runs compare takes the folders of two runs, given 1"),
        (["show", "outputs/ae", "--csv"], "are for lists, not for show"),
        (["outputs/ae/checkpoints"], "no run in outputs/ae/checkpoints"),
    ],
)
def test_wrong_input_is_one_line(listing: Forked, arguments: list[str], text: str) -> None:
    done = listing(*arguments)
    assert done.code == 2 and done.out == ""
    assert text in done.error


def test_without_outputs(tmp_path: Path) -> None:
    done = Forked(tmp_path, "sae_runs")()
    assert done.code == 2 and "outputs: no such folder" in done.error


def test_names_of_a_stranger(tmp_path: Path, outputs: Path) -> None:
    name = TEXT.replace("/", "").strip()
    folder = tmp_path / "outputs" / name
    folder.mkdir(parents=True)
    for file in ("config.yaml", "status.json", "summary.json"):
        (folder / file).write_bytes((outputs / "ae" / file).read_bytes())
    run = Forked(tmp_path, "sae_runs")
    for words in ((), ("--csv",), ("show", f"outputs/{name}"), ("--where", f"name='{name}'")):
        done = run(*words)
        assert done.code == 0, done.err
        check_harmless(done.out + done.err)
    assert SHOWN.strip() in run("--wide").out


def test_its_help(tmp_path: Path) -> None:
    for name in ("sae_runs", "sae_evaluate"):
        done = Forked(tmp_path, name)("--help")
        assert (done.code, done.err) == (0, "")
        assert "Exit code 0: done, 2: wrong input" in " ".join(done.out.split())
