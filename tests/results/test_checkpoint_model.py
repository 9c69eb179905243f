"""Runs that are loaded from a checkpoint: the best, the last, and that of an unfinished run."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.run_folder.checkpoints import pack, unpack
from sae_cli.runs.train import train
from tests.configured import configured
from tests.conftest import SMALL, Configure
from tests.faults.runs import contents, stop

WORDS = (*SMALL, "epochs=3", "pictures=false", "device=cpu")
LAST, PREVIOUS, BEST = (f"checkpoints/{name}.pt" for name in ("last", "previous", "best"))
X = np.random.default_rng(0).random((5, 64), dtype=np.float32)


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    train(configured("model=sparse_l1", "optimizer.learning_rate=0.01", *WORDS), path, [])
    return path


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_once, tmp_path / "finished"))


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """Stopped by a signal in its second epoch of 4 steps."""
    stop(configured("model=sparse_l1", *WORDS), tmp_path / "stopped", 6)
    return tmp_path / "stopped"


def test_the_last_checkpoint_of_a_finished_run_is_its_model(finished: Path) -> None:
    before = contents(finished)
    run, last = load_run(finished), load_run(finished, checkpoint="last")
    np.testing.assert_array_equal(last.encode(X), run.encode(X))
    assert last.record == run.record
    assert (run.weights.file, run.weights.epoch) == ("model.safetensors", None)
    assert (last.weights.file, last.weights.epoch) == (LAST, 3)
    assert contents(finished) == before


def test_the_best_checkpoint_has_the_lowest_validation_loss(finished: Path) -> None:
    run = load_run(finished, checkpoint="best")
    losses = [line["val/loss"] for line in run.metrics]
    assert run.weights.epoch == int(np.argmin(losses))
    mse = np.square(run.reconstruct(run.data("val").x) - run.data("val").x).mean()
    assert mse == pytest.approx(run.metrics[run.weights.epoch]["val/mse"], rel=1e-4)


def test_a_run_that_was_stopped_is_loaded_with_a_word(stopped: Path) -> None:
    before = contents(stopped)
    with pytest.warns(
        UserWarning, match=r"has not finished \(interrupted\): these are the "
    ) as said:
        run = load_run(stopped)
    (one,) = said
    assert one.filename == __file__
    assert "of epoch 1, step 6; sae-train resume=" in str(one.message)
    assert (run.weights.file, run.weights.step) == (LAST, 6)
    state = unpack((stopped / LAST).read_bytes(), LAST)
    found = run.autoencoder.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.model.items())
    assert run.record.inputs.divisor == 16.0 and run.input_shape == (1, 8, 8)
    assert [line["epoch"] for line in run.metrics] == [0, 1]
    with pytest.raises(ConfigError, match="summary"):
        run.summary  # noqa: B018
    assert contents(stopped) == before


def test_a_damaged_last_checkpoint_is_passed_over_and_left(stopped: Path) -> None:
    (stopped / LAST).write_bytes((stopped / LAST).read_bytes()[:-7])
    before = contents(stopped)
    with pytest.warns(UserWarning, match=r"last\.pt is damaged .*; previous\.pt is read instead"):
        run = load_run(stopped, checkpoint="last")
    assert run.weights.file == PREVIOUS
    assert contents(stopped) == before
    for name in (LAST, PREVIOUS):
        (stopped / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"previous\.pt is damaged"):
        load_run(stopped)


def test_what_is_not_there_is_said(finished: Path, tmp_path: Path) -> None:
    (finished / BEST).unlink()
    with pytest.raises(CheckpointError, match=r"there is no \S+best\.pt"):
        load_run(finished, checkpoint="best")
    with pytest.raises(ConfigError, match=r"checkpoint=lst is not a checkpoint.*did you mean last"):
        load_run(finished, checkpoint="lst")  # type: ignore[arg-type]
    (finished / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no model\.safetensors in it; checkpoint='last' loads"):
        load_run(finished)
    assert load_run(finished, checkpoint="last").n_latents == 64
    shutil.rmtree(finished / "checkpoints")
    (finished / "status.json").unlink()
    with pytest.raises(ConfigError, match=r"no model\.safetensors in it, and no checkpoint"):
        load_run(finished)


def test_a_finished_run_that_is_being_extended_says_so(finished: Path) -> None:
    (finished / "status.json").write_text('{"status": "interrupted"}')
    with pytest.warns(UserWarning, match=r"\(interrupted\): these are the weights in model\."):
        load_run(finished)


@pytest.mark.parametrize("changes", [("dataset.centre=mean", "dataset.scale=rms"), ()])
def test_a_centre_that_no_checkpoint_has_is_found_in_the_data(
    configure: Configure, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    x = np.random.default_rng(0).normal(4, 2, (60, 3, 4, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    how = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.axes=channels_last")
    rest = ("batch_size=16", "epochs=4", "pictures=false", "progress=false", "device=cpu")
    config = configure("model=sparse_l1", *how, *changes, *rest)
    stop(config, tmp_path / "stopped", 6)
    summary_of = train(config, tmp_path / "whole", [])
    whole = load_run(tmp_path / "whole")
    with pytest.warns(UserWarning, match="has not finished"):
        run = load_run(tmp_path / "stopped")
    assert summary_of["status"] == "finished"
    assert run.record.inputs == whole.record.inputs
    if changes:
        assert run.record.inputs.centre is not None and whole.record.inputs.centre is not None
        assert torch.equal(run.record.inputs.centre, whole.record.inputs.centre)
        np.save(tmp_path / "x.npy", x + 1)
        with pytest.raises(ConfigError, match="the data are not those that it began with"):
            load_run(tmp_path / "stopped")


@pytest.mark.parametrize(
    "words",
    [
        ("model=vae", "architecture.n_latents=3"),
        ("model=stacked", "architecture.hidden_sizes=[20]", "schedule.layer_epochs=[1]"),
        ("model=sparse_kl", "head=classifier"),
        ("model=lateral_inhibition",),
        ("model=batch_topk", "activation.k=4"),
    ],
    ids=lambda words: str(words[0]),
)
def test_whatever_is_trained_is_loaded(
    configure: Configure, tmp_path: Path, words: tuple[str, ...]
) -> None:
    train(configure(*words, *WORDS, "epochs=1"), tmp_path / "run", [])
    run, last = load_run(tmp_path / "run"), load_run(tmp_path / "run", checkpoint="last")
    found, wanted = last.network.saved.state_dict(), run.network.saved.state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def forge(file: Path, **changes: object) -> None:
    state = unpack(file.read_bytes(), str(file)).state_dict()
    file.write_bytes(pack(state | changes))


def test_a_forged_checkpoint_is_one_line_and_takes_no_memory(stopped: Path) -> None:
    good = (stopped / LAST).read_bytes()
    state = unpack(good, LAST)
    name = next(iter(state.model))
    forged: list[dict[str, object]] = [
        {"model": {}},
        {"model": state.model | {name: torch.zeros(3)}},
        {"model": state.model | {name: "text"}},
        {"model": state.model | {name: torch.zeros(1).expand(2**40)}},
        {"model": state.model | {name: state.model[name].to_sparse()}},
        {"model": {3: 4}},
        {"objectives": {}},
        {"objectives": {"joint": 3}},
    ]
    for changes in forged:
        (stopped / LAST).write_bytes(good)
        forge(stopped / LAST, **changes)
        try:
            # PyTorch warns of kinds of tensors that are refused.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load_run(stopped, checkpoint="last")
        except CheckpointError as error:
            assert "\n" not in str(error)
        else:
            assert "objectives" in changes
    (stopped / LAST).write_bytes(good)
    about = json.loads((stopped / "environment.json").read_text())
    for shape in (None, [], [2**40], "x", [1, 8, 9]):
        about["dataset"]["input_shape"] = shape
        (stopped / "environment.json").write_text(json.dumps(about))
        with pytest.raises((ConfigError, CheckpointError), match=r"which shape|does not fit"):
            load_run(stopped, checkpoint="last")
