"""The command: a run, its folder, two runs to the bit, a sweep, help."""

from __future__ import annotations

import csv
import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

from tests.conftest import Command, fresh_command, slow
from tests.contracts.small import page_of
from tests.forked import Done, Forked

SMALL = ("dataset.test=1500", "epochs=2", "pictures=false")
CLOSING = {"loss", "reconstruction", "penalty", "penalty_raw", "mse", "bce", "bce_excess"} | {
    *("rounded_accuracy", "fvu", "l0", "mean_activity", "dead_latents")
}


def only_run(folder: Path) -> Path:
    (run,) = (folder / "outputs").iterdir()
    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run with pictures, in a fresh process, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = fresh_command(folder)("penalty.weight=0.05", "epochs=2", "corruption=masking")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return only_run(folder), done.stdout


def test_a_run_says_what_it_does(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    lines = printed.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 3
    table = {line.split()[0] for line in lines[lines.index("") + 2 : -2]}
    assert table == CLOSING
    assert lines[-1] == f"run folder: outputs/{folder.name}"
    assert (folder / "train.log").read_text().splitlines() == lines


def test_a_run_folder_is_complete(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = {path.stem for path in (folder / "pictures").iterdir()}
    assert pictures >= {"reconstructions", "filters", "penalty_curves", "loss_curves"}
    assert found == {
        *("config.yaml", "overrides.yaml", "environment.json", "metrics.jsonl", "status.json"),
        *("summary.json", "train.log", "model.safetensors", "report.html"),
        *("checkpoints/last.pt", "checkpoints/previous.pt", "checkpoints/best.pt"),
        *(f"pictures/{name}.{kind}" for name in pictures for kind in ("png", "npz")),
    }
    assert json.loads((folder / "status.json").read_text())["status"] == "finished"
    assert yaml.safe_load((folder / "overrides.yaml").read_text()) == [
        *("penalty.weight=0.05", "epochs=2", "corruption=masking"),
    ]


def test_metrics_and_summary_have_their_keys(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["stage"]) for line in lines] == [
        (0, 0, "joint"),
        (1, 41, "joint"),
        (2, 82, "joint"),
    ]
    assert {key for key in lines[-1] if key.startswith("val/")} == {f"val/{k}" for k in CLOSING}
    assert {key for key in lines[-1] if key.startswith("train/")} == {
        f"train/{key}" for key in ("loss", "reconstruction", "penalty", "penalty_raw")
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert {key for key in summary if "/" in key} == {
        f"{split}/{key}" for split in ("train", "val", "test") for key in CLOSING
    }
    assert {"status", "best_epoch", "seconds"} <= set(summary)
    for name in CLOSING:
        assert summary[f"val/{name}"] == lines[-1][f"val/{name}"]
    assert summary["val/penalty"] == pytest.approx(0.05 * summary["val/penalty_raw"])


def test_the_environment_names_what_the_run_depended_on(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    found = json.loads((folder / "environment.json").read_text())
    assert found["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert found["command"][-1] == "corruption=masking"
    assert len(found["dataset"]["fingerprint"]) == 64
    assert found["dataset"]["input_shape"] == [1, 8, 8]
    assert {"code", "hardware", "threads", "device", "python"} <= set(found)


def test_checkpoints_hold_tensors_and_plain_types(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    last = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    assert (last["epoch"], last["step"]) == (2, 82)
    model = safetensors.torch.load_file(folder / "model.safetensors")
    assert all(torch.equal(last["model"][name], model[name]) for name in model)
    best = torch.load(folder / "checkpoints" / "best.pt", weights_only=True)
    assert best["epoch"] == json.loads((folder / "summary.json").read_text())["best_epoch"]


@pytest.mark.parametrize(
    "choice",
    ["model=stacked", *slow(["model=sparse_kl", "model=denoising lr_schedule=cosine"])],
)
def test_one_seed_gives_one_result_to_the_bit(
    command: Command, tmp_path: Path, choice: str
) -> None:
    contents = []
    for name in ("one", "two"):
        done = command(*choice.split(), *SMALL, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
        folder = tmp_path / name
        contents.append(
            [(folder / file).read_bytes() for file in ("model.safetensors", "metrics.jsonl")]
        )
    assert contents[0] == contents[1]


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    forked = Forked(tmp_path)
    with forked.start(*SMALL) as one, forked.start(*SMALL) as two:
        assert [one.wait().code, two.wait().code] == [0, 0]
    folders = list((tmp_path / "outputs").iterdir())
    assert len(folders) == 2
    assert all((folder / "summary.json").is_file() for folder in folders)


def test_a_folder_that_holds_a_run_is_left_alone(command: Command, tmp_path: Path) -> None:
    assert command(*SMALL, "hydra.run.dir=mine").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()}
    again = command(*SMALL, "seed=1", "hydra.run.dir=mine")
    assert again.returncode == 2
    assert "mine holds a run with other settings (seed: 0 then, 1 now)" in again.stderr
    assert before == {
        path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()
    }


def test_a_sweep_of_models_and_weights(command: Command, tmp_path: Path) -> None:
    done = command(
        "-m", "model=sparse_l1,sparse_target", "penalty.weight=0.01,0.05", "dataset=digits", *SMALL
    )
    assert done.returncode == 0, done.stderr
    sweep = only_run(tmp_path)
    with (sweep / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["penalty.weight"]) for row in rows} == {
        (model, weight) for model in ("sparse_l1", "sparse_target") for weight in ("0.01", "0.05")
    }
    scores = [float(row["val/fvu"]) for row in rows]
    assert scores == sorted(scores)
    for row in rows:
        summary = json.loads((sweep / row["job"] / "summary.json").read_text())
        assert float(row["val/fvu"]) == summary["val/fvu"]
        assert row["model"] in row["job"]
    assert "4 of 4 jobs finished" in done.stdout


@pytest.mark.slow
@pytest.mark.slow
def test_the_jobs_of_a_sweep_side_by_side(command: Command, tmp_path: Path) -> None:
    """In other processes, on a thread each; they give what they give one after the other."""
    words = ("-m", "penalty.weight=0.05,0.2", "pictures=false", *SMALL)
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    fresh = fresh_command(tmp_path)
    for folder, run, more in (("one", command, ()), ("two", fresh, parallel)):
        done = run(*words, f"hydra.sweep.dir={folder}", *more)
        assert done.returncode == 0, done.stderr
        assert "2 of 2 jobs finished" in done.stdout
    one, two = (sorted((tmp_path / name).glob("*/model.safetensors")) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_sweep_goes_on_when_a_job_fails(command: Command, tmp_path: Path) -> None:
    done = command("-m", "optimizer=sgd", "optimizer.learning_rate=0.001,1e30,0.002", *SMALL)
    assert done.returncode == 1
    (error,) = done.stderr.splitlines()
    assert error.startswith("error in job 1_optimizer=sgd,optimizer.learning_rate=1")
    assert "2 of 3 jobs finished" in done.stdout
    sweep = only_run(tmp_path)
    (failed,) = sweep.glob("1_*")
    assert "DivergedError" in (failed / "train.log").read_text()
    with (sweep / "results.csv").open() as file:
        statuses = [row["status"] for row in csv.DictReader(file)]
    assert statuses == ["finished", "finished", "failed"]


def test_a_sweep_with_missing_data_shows_every_failure(command: Command, tmp_path: Path) -> None:
    done = command("-m", "dataset=array", "dataset.path=a.npy,b/../../c.npy", *SMALL[1:])
    assert done.returncode == 1
    assert done.stderr.count("error in job") == 2
    assert "0 of 2 jobs finished" in done.stdout
    folders = [path for path in only_run(tmp_path).iterdir() if path.is_dir()]
    assert len(folders) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}


def test_a_run_that_diverges_says_so(command: Command, tmp_path: Path) -> None:
    done = command("optimizer=sgd", "optimizer.learning_rate=1e30", *SMALL)
    assert done.returncode == 3
    assert "training diverged: loss, reconstruction" in done.stderr
    assert "try a lower optimizer.learning_rate" in done.stderr
    assert "(failed)" in done.stdout.splitlines()[-1]
    status = json.loads((only_run(tmp_path) / "status.json").read_text())
    assert status["status"] == "failed"


def test_help_shows_what_can_be_typed(command: Command) -> None:
    done = command("--help")
    assert done.returncode == 0
    assert "model=vae" in done.stdout
    assert "sae-train -m penalty.weight=0.01,0.05,0.2" in done.stdout


def test_the_configuration_without_a_training(command: Command, tmp_path: Path) -> None:
    done = command("--cfg", "job", "model=sparse_l1")
    assert yaml.safe_load(done.stdout)["penalty"] == page_of("penalty/l1.yaml") | {"weight": 0.1}
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("name", ["mine", "caf\u00e9 (a=b, it's [x])"])
def test_pages_of_the_user(command: Command, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "penalty"
    folder.mkdir(parents=True)
    (folder / "gentle.yaml").write_text("name: l1\nweight: 0.001\n")
    (folder / "derived.yaml").write_text("defaults: [gentle, _self_]\nweight: ${epochs}\n")
    mine = ("--config-dir", name, "--cfg", "job", "-p", "penalty", "model=sparse_kl")
    for page, weight in (("gentle", 0.001), ("derived", 7)):
        done = command(*mine, f"penalty={page}", "epochs=7")
        assert done.returncode == 0, done.stderr
        # What a page leaves out is as in our own page of its part.
        rest = {"decoder_norms": False, "warmup_steps": 0, "target_l0": None}
        assert yaml.safe_load(done.stdout) == {"name": "l1", "weight": weight, **rest}
    done = command(*mine, "penalty=gentle", "penalty.wight=1")
    assert done.stderr == (
        "error: unknown key penalty.wight: penalty=gentle takes weight, decoder_norms, "
        "warmup_steps, target_l0; did you mean penalty.weight?\n"
    )


def test_a_run_with_a_page_of_the_user(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    page = "# @package _global_\ndefaults:\n  - override /penalty: l1\n  - _self_\nbatch_size: 16\n"
    (folder / "wide.yaml").write_text(page)
    done = command("--config-dir", "mine", "model=wide", *SMALL)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((only_run(tmp_path) / "config.yaml").read_text())
    assert (config["model"], config["batch_size"]) == ("wide", 16)
    assert config["penalty"] == page_of("penalty/l1.yaml") | {"weight": 0.1}
    (folder / "wide.yaml").write_text(page.partition("\n")[2])
    done = command("--config-dir", "mine", "model=wide", *SMALL)
    assert done.returncode == 2


def print_into(pipe: Path) -> None:
    os.dup2(os.open(pipe, os.O_WRONLY), 1)


def test_a_reader_that_goes_does_not_stop_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    words = (*SMALL, "hydra.run.dir=run")
    with Forked(tmp_path).start(*words, before=partial(print_into, tmp_path / "pipe")) as run:
        with (tmp_path / "pipe").open() as reader:
            reader.readline()
        assert run.wait() == Done(0, "", "")
    assert (tmp_path / "run" / "summary.json").is_file()
    assert "run folder: run" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_interrupts_a_run_and_says_so(tmp_path: Path, number: int, code: int) -> None:
    with Forked(tmp_path).start("epochs=5000", "hydra.run.dir=run") as run:
        run.until((tmp_path / "run" / "metrics.jsonl").is_file)
        run.send_signal(number)
        done = run.wait()
    assert done.code == code
    assert done.out.splitlines()[-1] == "run folder: run (interrupted)"
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["status"] == "interrupted"


def test_an_interrupted_sweep_shows_what_is_done(tmp_path: Path) -> None:
    with Forked(tmp_path).start("-m", "epochs=1,5000,1", "hydra.sweep.dir=sweep") as sweep:
        sweep.until((tmp_path / "sweep" / "1_epochs=5000" / "metrics.jsonl").is_file)
        sweep.send_signal(signal.SIGINT)
        done = sweep.wait()
    assert done.code == 130
    assert "1 of 3 jobs finished; results: sweep/results.csv" in done.out
    with (tmp_path / "sweep" / "results.csv").open() as file:
        rows = [(row["epochs"], row["status"]) for row in csv.DictReader(file)]
    assert rows == [("1", "finished"), ("5000", "interrupted"), ("1", "waiting")]


def test_a_sweep_is_not_started_in_the_folder_of_another(command: Command, tmp_path: Path) -> None:
    assert command("-m", "seed=0,1", "hydra.sweep.dir=sweep", *SMALL).returncode == 0
    files = [path for path in (tmp_path / "sweep").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    again = command("-m", "seed=0,2", "hydra.sweep.dir=sweep", *SMALL)
    assert again.returncode == 2
    assert "sweep holds another sweep (job 1_seed=1" in again.stderr
    assert before == {path: path.read_bytes() for path in files}


def test_folders_of_the_user_stay_when_data_are_missing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    missing = ("dataset=array", "dataset.path=no.npy")
    assert command(*missing, "hydra.run.dir=mine").returncode == 2
    assert command(*missing, "hydra.run.dir=new/deeper").returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_naming_what_a_page_chose_anyway_changes_nothing(command: Command) -> None:
    page = command("--cfg", "job", "model=sparse_kl")
    named = command("--cfg", "job", "model=sparse_kl", "reconstruction=mse")
    assert named.stdout == page.stdout
    assert yaml.safe_load(page.stdout)["reconstruction"]["reduction"] == "sum"


def test_out_of_memory(command: Command, tmp_path: Path) -> None:
    done = command("architecture.n_latents=1000000000")
    assert done.returncode == 4
    assert "out of memory; lower batch_size, architecture.n_latents" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_validation_that_diverges_alone(command: Command) -> None:
    """One step so long that only what comes after it is not finite."""
    done = command(
        *("model=ae", "optimizer=sgd", "optimizer.learning_rate=1e38", "epochs=1"),
        "batch_size=1297",
    )
    assert done.returncode == 3
    assert "became infinite or NaN in the validation after epoch 1" in done.stderr
