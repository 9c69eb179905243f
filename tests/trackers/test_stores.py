"""Each tracker's store holds what the run folder holds, and leaves the run as it is without."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml

from sae_cli.config.conf_folder import CONF
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError, Stopped
from sae_cli.runs.reproduce import reproduce
from sae_cli.runs.resume import begin_or_resume, resume
from sae_cli.runs.train import train
from sae_cli.trackers import TRACKERS
from sae_cli.trackers.tracker import check_installed
from tests import killing
from tests.configured import configured
from tests.conftest import slow
from tests.faults.runs import at_step, signal_sender
from tests.trackers.stores import READERS, Stored, in_run_folder

WORDS = ("model=denoising", "dataset.test=1500", "epochs=4", "checkpoint_steps=3", "device=cpu")
QUIET = (*WORDS, "pictures=false", "progress=false")
LOG_EVERY = 2
# MLflow takes seconds of a processor to begin.
EACH = ["tensorboard", "wandb", *slow(["mlflow"])]


def tracked(name: str, *words: str) -> RunConfig:
    """A configuration with this tracker; the test is skipped where that is not installed."""
    config = configured(*words, "progress=false").changed(
        {"logger": name, f"logger.{name}.log_every": LOG_EVERY}
    )
    try:
        check_installed(config.settings.logger)
    except ConfigError as error:
        # It names the package that is missing; any other error fails the test.
        pytest.skip(str(error))
    return config


def stored(name: str, run: Path) -> Stored:
    """The one run in a store."""
    (found,) = READERS[name](run)
    return found


def check_points(name: str, run: Path) -> Stored:
    """Each point is stored once, and none is missing."""
    found, expected = stored(name, run), in_run_folder(run, LOG_EVERY)
    assert {key: found.points[key] for key in expected} == {
        key: [(step, float(np.float32(v)) if name == "tensorboard" else v) for step, v in points]
        for key, points in expected.items()
    }
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without a tracker."""
    run = tmp_path_factory.mktemp("plain") / "run"
    train(configured(*QUIET), run, [])
    return run


@pytest.mark.parametrize("name", EACH)
def test_a_store_holds_the_run(name: str, tmp_path: Path, plain: Path) -> None:
    run = tmp_path / "named"
    train(tracked(name, *WORDS), run, [])
    found = check_points(name, run)
    pictures = {f"pictures/{file.stem}" for file in (run / "pictures").glob("*.png")}
    assert found.pictures == pictures and pictures
    if name == "tensorboard":
        assert b"architecture.n_latents" in found.about["hparams"]
    else:
        assert found.about["name"] == "named"
        assert str(found.about["batch_size"]) == "32"
    assert killing.results(run) == killing.results(plain)
    assert not any("trackers" in str(file) for file in plain.rglob("*"))
    # No file of a tracker is a link or a pipe, which would keep the run from being resumed.
    resume(run, {"pictures": False})


@pytest.mark.parametrize("name", EACH)
def test_a_killed_run_continues_its_store(name: str, tmp_path: Path, plain: Path) -> None:
    config, run = tracked(name, *QUIET), tmp_path / "run"
    process = killing.start(config, run, "at a renaming", 24)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert 0 < len((run / "metrics.jsonl").read_text().splitlines()) < 5
    resume(run, {})
    check_points(name, run)
    assert killing.results(run) == killing.results(plain)


@pytest.mark.parametrize("name", EACH)
def test_a_stopped_run_and_a_longer_one(name: str, tmp_path: Path) -> None:
    config, run = tracked(name, *QUIET), tmp_path / "run"
    with at_step(10, signal_sender(signal.SIGINT)), pytest.raises(Stopped) as stopped:
        begin_or_resume(config, run, [])
    assert stopped.value.exit_code == 130
    begin_or_resume(config, run, [])
    resume(run, {"epochs": 5})
    assert in_run_folder(run, LOG_EVERY)["step/loss"][-1][0] == 20
    check_points(name, run)
    # A copy of the folder is another run, as its own training from here on is.
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    resume(copy, {"epochs": 6})
    check_points("tensorboard", copy) if name == "tensorboard" else None
    assert len(READERS[name](run)) == (1 if name == "tensorboard" else 2)


def test_stages_at_the_same_step_are_told_apart(tmp_path: Path) -> None:
    config, run = tracked("tensorboard", "model=stacked", *QUIET[1:]), tmp_path / "run"
    train(config.changed({"schedule.layer_epochs": [1], "epochs": 1}), run, [])
    check_points("tensorboard", run)


def test_a_reproduction_tells_no_tracker(tmp_path: Path) -> None:
    run, again = tmp_path / "run", tmp_path / "again"
    train(tracked("tensorboard", *QUIET), run, [])
    assert reproduce(run, again, {})
    assert not list(again.glob("events*")) and not (again / "trackers").exists()
    assert yaml.safe_load((again / "config.yaml").read_text())["logger"] == {}


def test_jobs_of_a_sweep_share_a_store_and_a_group(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "sweep.yaml").write_text("")
    for seed in (0, 1):
        config = tracked("wandb", *QUIET, f"seed={seed}", "epochs=1")
        train(config, sweep / f"{seed}_seed={seed}", [])
    found = READERS["wandb"](sweep)
    assert {one.about["group"] for one in found} == {"sweep"}
    assert {one.about["name"] for one in found} == {"0_seed=0", "1_seed=1"}


@pytest.mark.parametrize("name", TRACKERS.names)
def test_pages_have_the_options_of_their_trackers(name: str) -> None:
    page = yaml.safe_load((CONF / "logger" / f"{name}.yaml").read_text())
    assert list(page) == [name]
    fields = TRACKERS.schema(name).model_fields
    assert page[name] == {key: field.default for key, field in fields.items()}


def test_every_page_is_a_tracker() -> None:
    pages = {path.stem for path in (CONF / "logger").glob("*.yaml")}
    assert pages == {"none", *TRACKERS.names}


def test_the_record_is_plain(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tracked("tensorboard", *QUIET, "epochs=1"), run, [])
    texts = (run / "trackers" / "record.jsonl").read_text().splitlines()
    lines = [json.loads(text) for text in texts]
    assert [line["step"] for line in lines] == [0, 2, 4, 4]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
