"""Runs trained again from their folders: identical, or the differences are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from sae_cli.config.chosen_pages import forget
from sae_cli.core.errors import ConfigError
from sae_cli.results.compare import Results, compare_metrics, compare_tensors, read_results
from sae_cli.runs.reproduce import check_environment, reproduce
from sae_cli.runs.train import train
from tests.conftest import Command, Configure, slow
from tests.contracts.small import MODELS, one_of_each_architecture

SMALL = ("dataset.test=1500", "epochs=2", "pictures=false", "device=cpu")
# Stages have epochs of their own.
SHORTER = {"stacked": ("schedule.layer_epochs=[1]",), "drsae": ("head.epochs=1",)}
QUICK = one_of_each_architecture()
REST = [page for page in MODELS if page not in QUICK]


@pytest.fixture
def run(configure: Configure, tmp_path: Path) -> Path:
    """Train on an array of its own."""
    values = np.random.default_rng(0).random((100, 6), np.float32)
    np.save(tmp_path / "values.npy", values)
    config = configure(
        *("model=sparse_kl", "dataset=array", f"dataset.path={tmp_path / 'values.npy'}"),
        *("epochs=2", "pictures=false", "device=cpu"),
    )
    train(config, tmp_path / "run", [])
    return tmp_path / "run"


@pytest.mark.parametrize("page", [*QUICK, *slow(REST)])
def test_every_model_page_comes_out_the_same(
    page: str, configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(configure(f"model={page}", *SMALL, *SHORTER.get(page, ())), tmp_path / "run", [])
    assert reproduce(tmp_path / "run", tmp_path / "again", {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("identical: ")
    for name in ("model.safetensors", "metrics.jsonl", "config.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_pages_of_today_do_not_matter(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget()
    monkeypatch.setattr("sae_cli.config.compose.CONF", tmp_path / "nothing")
    monkeypatch.chdir(tmp_path.parent)
    assert reproduce(run, tmp_path / "again", {})


def test_one_value_of_the_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.load(tmp_path / "values.npy")
    values[3, 2] += 1e-3
    np.save(tmp_path / "values.npy", values)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"the data are not those of the run .* --changed-data"):
        reproduce(run, tmp_path / "again", {})
    assert not (tmp_path / "again").exists()
    assert not reproduce(run, tmp_path / "again", {}, changed_data=True)
    verdict, reason = capsys.readouterr().out.splitlines()[-2:]
    assert verdict.startswith("different: ")
    assert "dataset.fingerprint" in reason
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_data_that_have_moved(run: Path, tmp_path: Path) -> None:
    (tmp_path / "values.npy").rename(tmp_path / "moved.npy")
    with pytest.raises(ConfigError, match=r"values\.npy does not exist"):
        reproduce(run, tmp_path / "again", {})
    moved = {"dataset.path": str(tmp_path / "moved.npy")}
    assert reproduce(run, tmp_path / "again", moved)


def test_one_version_in_the_record(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result is the same nevertheless."""
    record = json.loads((run / "environment.json").read_text())
    record["packages"]["torch"] = "1.2.3"
    (run / "environment.json").write_text(json.dumps(record))
    assert not check_environment(run, {})
    now = torch.__version__.partition("+")[0]
    named = f"changed since: packages.torch: 1.2.3 then, {now} now"
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [named, "1 changed"]
    assert reproduce(run, tmp_path / "again", {})
    assert named in capsys.readouterr().out


def test_one_number_of_the_configuration(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["penalty"]["weight"] = 0.25
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert not reproduce(run, tmp_path / "again", {})
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "changed since: config.yaml: penalty.weight: 0.5 then, 0.25 now"


def test_differences_are_named(run: Path, tmp_path: Path) -> None:
    """One value of the metrics differs, and one weight by one bit."""
    shutil.copytree(run, tmp_path / "other")

    def both() -> tuple[Results, Results]:
        return read_results(run), read_results(tmp_path / "other")

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[1]["val/l0"] += 0.5
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "other" / "metrics.jsonl").write_text(text)
    (found,) = [one for one in compare_metrics(*both()) if not one.same]
    assert (found.name, found.note) == ("val/l0", "since epoch 1, by up to 0.5000")

    tensors = safetensors.torch.load_file(run / "model.safetensors")
    bits = tensors["encoder.1.weight"].view(torch.int32)
    bits[0, 0] ^= 1
    safetensors.torch.save_file(tensors, tmp_path / "other" / "model.safetensors")
    (off,) = [one for one in compare_tensors(*both()) if not one.same]
    assert off.name == "encoder.1.weight"
    assert off.note.startswith(f"1 of {bits.numel()} values, by up to ")


def test_a_folder_without_a_finished_run(run: Path, tmp_path: Path) -> None:
    (run / "status.json").write_text('{"status": "interrupted"}')
    with pytest.raises(ConfigError, match=r"no finished run; finish it: sae-train resume="):
        reproduce(run, tmp_path / "again", {})
    with pytest.raises(ConfigError, match="no finished run"):
        reproduce(tmp_path / "nothing", tmp_path / "again", {})


def test_the_command_on_a_sweep(reproducing: Command, command: Command, tmp_path: Path) -> None:
    """Each job is trained again; the exit code is 0 if identical, 1 if not, 2 if it cannot run."""
    words = ("-m", "seed=0,1", "model=ae", "hydra.sweep.dir=sweep", *SMALL)
    assert command(*words).returncode == 0
    done = reproducing("sweep", "--into", "again")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 of 2 jobs as they were"
    jobs = sorted((tmp_path / "sweep").glob("*/model.safetensors"))
    assert len(jobs) == 2
    for model in jobs:
        again = tmp_path / "again" / model.parent.name / model.name
        assert again.read_bytes() == model.read_bytes()

    # Nothing is trained for the first job when the second cannot be.
    for taken, name in ((tmp_path / "third", "notes"), (tmp_path / "fourth", "config.yaml")):
        (taken / jobs[1].parent.name).mkdir(parents=True)
        (taken / jobs[1].parent.name / name).touch()
        wrong = reproducing("sweep", "--into", taken.name)
        assert wrong.returncode == 2 and "is not an empty folder" in wrong.stderr
        assert not (taken / jobs[0].parent.name).exists()
    weights = jobs[1].read_bytes()
    jobs[1].write_bytes(weights[:100])
    wrong = reproducing("sweep", "--into", "fifth")
    assert wrong.returncode == 2 and "model.safetensors cannot be read" in wrong.stderr
    assert not (tmp_path / "fifth").exists()
    jobs[1].write_bytes(weights)

    record = jobs[0].parent / "environment.json"
    record.write_text(record.read_text().replace('"threads": 1', '"threads": 7'))
    checked = reproducing("--check", str(jobs[0].parent))
    assert checked.returncode == 1
    assert "changed since: threads: 7 then, 1 now" in checked.stdout
    for key in ("code.commit", "packages.torch", "hardware.processor", "command", "started"):
        assert f"\n{key}: " in f"\n{checked.stdout}"

    for wrong_words, says in [
        (("nowhere",), "nowhere: no such folder"),
        ((".",), ". holds runs; give one of them, such as sweep"),
        (("sweep", "penalty.weight=1"), "reproduced with its own settings"),
        (("sweep", "--nope"), "--nope is not an option; the options are"),
        (("sweep", "word"), "'word' is not a setting"),
        (("sweep", "--into", "again"), "is not an empty folder"),
    ]:
        wrong = reproducing(*wrong_words)
        assert wrong.returncode == 2, wrong.stdout
        assert says in wrong.stderr
        assert wrong.stderr.count("\n") == 1
