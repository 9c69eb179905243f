"""``sae-evaluate``: what it finds, writes and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sae_cli import load_run
from sae_cli.runs.train import train
from tests.configured import configured
from tests.conftest import SMALL
from tests.faults.runs import contents, stop
from tests.forked import Forked
from tests.results.interchange import layouts

WORDS = (*SMALL, "pictures=false", "device=cpu", "model=sparse_l1")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in their seeds, and one that was stopped."""
    path = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        train(configured(*WORDS, f"seed={seed}"), path / str(seed), [])
    stop(configured(*WORDS, "epochs=3"), path / "stopped", 6)
    return path


@pytest.fixture
def evaluating(runs: Path, tmp_path: Path) -> Forked:
    shutil.copytree(runs, tmp_path / "runs")
    images = load_digits().images.reshape(-1, 64)
    np.save(tmp_path / "x.npy", images.astype(np.float32))
    return Forked(tmp_path, "sae_evaluate")


def written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_run_on_its_own_data(evaluating: Forked) -> None:
    folder = evaluating.cwd / "runs"
    before = contents(folder / "0")
    done = evaluating("runs/0")
    assert (done.code, done.err) == (0, "")
    assert contents(folder / "0") == before
    (found,) = written(folder / "0.evaluation.json")["runs"]
    summary = json.loads((folder / "0" / "summary.json").read_text())
    for name in ("mse", "fvu", "l0", "mean_activity", "dead_latents", "bce"):
        assert found["metrics"][name] == pytest.approx(summary[f"test/{name}"], rel=1e-5), name
    assert {"pca_fvu", "pca_l0_fvu", "linear_probe", "neighbours"} <= found["metrics"].keys()
    assert (found["split"], found["n_examples"], found["weights"]) == (
        *("test", 1500),
        "model.safetensors",
    )
    lines = done.out.splitlines()
    assert lines[0] == "runs/0 (model.safetensors)"
    assert lines[-1] == "written: runs/0.evaluation.json"
    assert any("a code is active when its magnitude exceeds 0." in line for line in lines)
    again = evaluating("runs/0", "split=val")
    assert again.code == 0
    (found,) = written(folder / "0.evaluation.json")["runs"]
    assert found["metrics"]["fvu"] == pytest.approx(summary["val/fvu"], rel=1e-5)


def test_several_runs_and_their_atoms(evaluating: Forked) -> None:
    done = evaluating("runs/0", "runs/1", "out=both.json")
    assert (done.code, done.err) == (0, "")
    found = written(evaluating.cwd / "both.json")
    assert [Path(one["run"]).name for one in found["runs"]] == ["0", "1"]
    assert 0.0 < found["together"]["matched_cosine"] <= found["together"]["nearest_cosine"] < 1.0


def test_other_data_are_seen_as_its_own_were(evaluating: Forked) -> None:
    """The digits of scikit-learn, from an array: the divisor is the array's own."""
    own = ("dataset.val=0.1", "dataset.test=0.2", "dataset.divisor=16")
    other = evaluating("runs/0", "dataset=array", "dataset.path=x.npy", *own, "out=o.json")
    assert (other.code, other.err) == (0, "")
    (found,) = written(evaluating.cwd / "o.json")["runs"]
    assert found["n_examples"] == 359
    assert any("need labels" in note for note in found["notes"])
    undivided = evaluating("runs/0", "dataset=array", "dataset.path=x.npy", "out=u.json")
    assert "note: the model sees values in [0, 16], and was trained on values in [0, 1]" in (
        undivided.out
    )
    fewer = evaluating("runs/0", "dataset.test=100", "out=f.json")
    assert fewer.code == 0
    assert written(evaluating.cwd / "f.json")["runs"][0]["n_examples"] == 100


@pytest.mark.slow
def test_a_classifier_of_some_classes_is_not_judged_by_others(
    evaluating: Forked, tmp_path: Path
) -> None:
    classes = [1, 4, 7]
    head = ("head=classifier", "head.epochs=3", f"head.classes={classes}")
    run = evaluating.cwd / "classifier"
    train(configured(*WORDS, *head), run, [])
    labels = load_digits().target
    np.save(tmp_path / "labels.npy", labels)
    words = ("dataset=array", "dataset.path=x.npy", "dataset.labels=labels.npy")
    own = ("dataset.val=0.1", "dataset.test=0.2", "dataset.divisor=16")
    done = evaluating("classifier", *words, *own, "out=o.json")
    assert (done.code, done.err) == (0, "")
    x = load_digits().images[-359:].reshape(-1, 64).astype(np.float32) / 16
    right = (load_run(run).classify(x) == labels[-359:])[np.isin(labels[-359:], classes)]
    metrics = written(tmp_path / "o.json")["runs"][0]["metrics"]
    assert metrics["accuracy"] == pytest.approx(float(right.mean()))
    # Data may lack some of the classes, or all labels.
    few = np.isin(labels, [0, 1, 2])
    np.save(tmp_path / "few.npy", load_digits().images.reshape(-1, 64)[few].astype(np.float32))
    np.save(tmp_path / "few_labels.npy", labels[few])
    words = ("dataset=array", "dataset.path=few.npy", "dataset.labels=few_labels.npy")
    done = evaluating("classifier", *words, *own, "out=few.json")
    assert (done.code, done.err) == (0, "")
    assert "accuracy" in written(tmp_path / "few.json")["runs"][0]["metrics"]
    done = evaluating("classifier", "dataset=array", "dataset.path=x.npy", *own, "out=none.json")
    assert (done.code, done.err) == (0, "")
    assert "accuracy" not in written(tmp_path / "none.json")["runs"][0]["metrics"]


def test_axes_in_another_order_are_not_taken_for_those_of_the_model(evaluating: Forked) -> None:
    images = (
        np.zeros((60, 4, 4, 4), np.float32) + np.arange(60, dtype=np.float32)[:, None, None, None]
    )
    np.save(evaluating.cwd / "y.npy", images)
    words = ("dataset=array", "dataset.path=y.npy", "dataset.axes=channels_first")
    done = evaluating("runs/0", *words)
    assert done.code == 2
    assert "has examples (4, 4, 4), and runs/0 was trained on (1, 8, 8)" in done.error


def test_checkpoints_and_runs_that_were_stopped(evaluating: Forked) -> None:
    best = evaluating("runs/0", "checkpoint=best", "out=b.json")
    assert best.code == 0
    assert written(evaluating.cwd / "b.json")["runs"][0]["weights"] == "checkpoints/best.pt"
    stopped = evaluating("runs/stopped", "out=s.json")
    assert (stopped.code, stopped.err) == (0, "")
    assert "has not finished (interrupted): these are the weights of its last" in stopped.out
    assert written(evaluating.cwd / "s.json")["runs"][0]["step"] == 6


def test_a_dictionary_of_another_library(evaluating: Forked) -> None:
    layouts.gemma()(evaluating.cwd)
    np.save(evaluating.cwd / "acts.npy", np.random.default_rng(0).normal(size=(90, 3)))
    data = ("dataset=array", "dataset.path=acts.npy")
    done = evaluating("params.npz", *data)
    assert (done.code, done.err) == (0, "")
    (found,) = written(evaluating.cwd / "params.npz.on_acts.npy.evaluation.json")["runs"]
    assert found["n_latents"] == 4 and found["metrics"]["fvu"] > 0.0
    for words, text in [
        ((), "is a dictionary, which does not say what it was trained on; give dataset=array"),
        (("dataset.path=acts.npy",), "name the kind of data, too: dataset=array dataset.path"),
        ((*data, "checkpoint=best"), "is a dictionary, which has no checkpoints"),
        (("dataset=digits",), "has examples (1, 8, 8), and params.npz was trained on (3,)"),
    ]:
        wrong = evaluating("params.npz", *words)
        assert wrong.code == 2 and text in wrong.error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "the following arguments are required"),
        (["nowhere"], "nowhere: no such folder or file"),
        (["dataset=digits"], "give the folder of a run"),
        (["runs/0", "chekpoint=best"], "did you mean checkpoint?"),
        (["runs/0", "checkpoint=first"], "choose one of best, last"),
        (["runs/0", "split=tset"], "did you mean test?"),
        (["runs/0", "dataset.tset=3"], "did you mean dataset.test?"),
        (["runs/0", "dataset.test="], "gives no value"),
        (["runs/0", "dataset.centre=mean"], "the model has the centre and the scale of the data"),
        (["runs/0", "dataset=digit"], "digits"),
        (["runs/0", "device=tpu9"], "tpu9 is not a device of this machine"),
        (["runs/0", "out=nowhere/e.json"], "there is no folder nowhere"),
        (["runs/0", "out=x.npy"], "x.npy was not made by sae-evaluate"),
        (["runs/0", "out=runs/0/summary.json"], "was not made by sae-evaluate"),
        (
            ["runs/0", "x.npy"],
            "x.npy is a file of data, not a run; dataset=array dataset.path=x.npy evaluates on it",
        ),
        (["runs"], "runs holds runs; give one of them, such as runs/0"),
        (["runs/0", "--nope"], "--nope is not an option"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    evaluating: Forked, arguments: list[str], text: str
) -> None:
    before = contents(evaluating.cwd)
    done = evaluating(*arguments)
    assert done.code == 2
    assert text in done.error
    assert contents(evaluating.cwd) == before


def test_a_missing_checkpoint(evaluating: Forked) -> None:
    (evaluating.cwd / "runs" / "0" / "checkpoints" / "best.pt").unlink()
    done = evaluating("runs/0", "checkpoint=best")
    assert done.code == 6 and "there is no" in done.error


def test_a_folder_that_cannot_be_written_is_found_first(evaluating: Forked) -> None:
    done = evaluating("runs/0", before=_read_only)
    assert done.code == 2
    assert "runs/0.evaluation.json cannot be written, because the folder is read-only" in done.error
    assert done.out == ""


def test_a_job_whose_folder_has_an_equals_sign(evaluating: Forked) -> None:
    (evaluating.cwd / "runs" / "0").rename(evaluating.cwd / "0_seed=0")
    assert evaluating("0_seed=0").code == 0
    assert (evaluating.cwd / "0_seed=0.evaluation.json").is_file()


def _read_only() -> None:
    import os

    os.access = lambda *_, **__: False


def test_other_data_leave_the_evaluation_on_its_own(evaluating: Forked) -> None:
    folder = evaluating.cwd / "runs"
    assert evaluating("runs/1").code == 0
    before = (folder / "1.evaluation.json").read_bytes()
    np.save(evaluating.cwd / "my x.npy", np.random.default_rng(0).random((90, 64)))
    for words, name in (
        (("dataset=array", "dataset.path=my x.npy"), "my_x.npy"),
        (("dataset.test=1000",), "others"),
    ):
        done = evaluating("runs/1", *words)
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines()[-1] == f"written: runs/1.on_{name}.evaluation.json"
    assert (folder / "1.evaluation.json").read_bytes() == before
