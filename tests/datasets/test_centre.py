"""Centre and scale of an array: NumPy's figures of the training rows, undone by a loaded run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from sae_cli import load_run
from sae_cli.assembly.data import read_dataset
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import Dataset
from sae_cli.datasets.centre import geometric_median
from sae_cli.results.saved_config import check_saved
from sae_cli.runs.train import train
from tests.conftest import Command, Configure

QUICK = ("epochs=2", "batch_size=16", "pictures=false", "progress=false", "device=cpu")
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(80, 6)) + np.arange(6)).astype(np.float32) * 3
TRAIN = X[:64].astype(np.float64)


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """The first 64 rows train, 8 validate and 8 test."""
    np.save(tmp_path / "x.npy", X)
    return ("model=sparse_l1", *QUICK, "dataset=array", f"dataset.path={tmp_path / 'x.npy'}")


def values(data: Dataset) -> NDArray[np.float32]:
    """What a model sees of all rows."""
    splits = (data.train, data.val, data.test)
    return np.concatenate([next(split.batches(100)).numpy() for split in splits])


@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_mean_and_rms_are_those_of_the_training_rows(
    given: tuple[str, ...], configure: Configure, divisor: float
) -> None:
    how = ("dataset.centre=mean", "dataset.scale=rms", f"dataset.divisor={divisor}")
    data = read_dataset(configure(*given, *how))
    centred = TRAIN / divisor - (TRAIN / divisor).mean(0)
    scale = np.sqrt((centred**2).sum(1).mean() / 6)
    wanted = (X / divisor - (TRAIN / divisor).mean(0)) / scale
    np.testing.assert_allclose(values(data), wanted, rtol=1e-5, atol=1e-6)
    assert data.record.as_dict()["scale"] == pytest.approx(scale, rel=1e-6)
    seen = values(data)[:64].astype(np.float64)
    assert (seen**2).sum(1).mean() == pytest.approx(6.0, rel=1e-6)
    assert (data.interval.low, data.interval.high) == (values(data).min(), values(data).max())


def test_scale_alone_keeps_the_mean(given: tuple[str, ...], configure: Configure) -> None:
    data = read_dataset(configure(*given, "dataset.scale=rms"))
    wanted = X / np.sqrt((TRAIN**2).mean())
    np.testing.assert_allclose(values(data), wanted, rtol=1e-6)
    assert data.record.tensors == {}


def test_unit_norm_is_the_setting_of_that_name(
    given: tuple[str, ...], configure: Configure
) -> None:
    as_option = read_dataset(configure(*given, "dataset.scale=unit_norm"))
    as_setting = read_dataset(configure(*given, "unit_norm=true"))
    both = read_dataset(configure(*given, "unit_norm=true", "dataset.scale=unit_norm"))
    for data in (as_option, both):
        np.testing.assert_array_equal(values(data), values(as_setting))
        assert data.record == as_setting.record
    with pytest.raises(ConfigError, match=r"^unit_norm=true would undo dataset.scale=rms; choose"):
        read_dataset(configure(*given, "unit_norm=true", "dataset.scale=rms"))


def test_a_centre_comes_before_the_norm(given: tuple[str, ...], configure: Configure) -> None:
    data = read_dataset(configure(*given, "dataset.centre=mean", "unit_norm=true"))
    centred = X - TRAIN.mean(0)
    wanted = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(values(data), wanted, rtol=1e-5, atol=1e-6)


def test_the_defaults_change_nothing(given: tuple[str, ...], configure: Configure) -> None:
    data = read_dataset(configure(*given))
    np.testing.assert_array_equal(values(data), X)
    assert "centred" not in data.record.as_dict()
    plain = configure(*given).as_dict()
    dataset = {k: v for k, v in plain["dataset"].items() if k not in ("centre", "scale")}
    assert check_saved(plain | {"dataset": dataset}) == configure(*given)


@pytest.mark.parametrize("wrong", ["true", "median", "null", "1"])
def test_other_centres_are_refused(
    given: tuple[str, ...], configure: Configure, wrong: str
) -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.centre="):
        configure(*given, f"dataset.centre={wrong}")


def test_axes_are_arranged_before_the_centre(configure: Configure, tmp_path: Path) -> None:
    x = RNG.random((40, 4, 5, 3), np.float32)
    np.save(tmp_path / "x.npy", x)
    how = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.axes=channels_last")
    data = read_dataset(configure(*how, "dataset.centre=mean"))
    (seen,) = data.train.batches(100)
    wanted = (x[:32] - x[:32].astype(np.float64).mean(0)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(seen, wanted, atol=1e-6)


@pytest.mark.parametrize("where", ["train", "everywhere but one"])
def test_examples_that_are_alike_cannot_be_scaled(
    configure: Configure, tmp_path: Path, where: str
) -> None:
    x = np.ones((40, 3), np.float32)
    x[-1] = 2.0
    np.save(tmp_path / "x.npy", x if where != "train" else x - 1.0)
    how = ["dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.scale=rms"]
    how += ["dataset.centre=mean"] if where != "train" else []
    with pytest.raises(ConfigError, match=r"^dataset.scale=rms: the 32 training examples are all"):
        read_dataset(configure(*how))


def test_values_that_leave_float32_are_refused(configure: Configure, tmp_path: Path) -> None:
    x = np.full((40, 1), 3e38, np.float32)
    x[-1] = -3e38
    np.save(tmp_path / "x.npy", x)
    how = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.centre=mean")
    with pytest.raises(ConfigError, match="are too large for float32; scale the array"):
        read_dataset(configure(*how))


def test_far_rows_move_the_mean_and_not_the_median(
    configure: Configure, given: tuple[str, ...], tmp_path: Path
) -> None:
    x = X.copy()
    x[:3] = 1e4
    np.save(tmp_path / "x.npy", x)
    data = read_dataset(configure(*given, "dataset.centre=geometric_median"))
    centre = data.record.inputs.centre
    assert centre is not None
    rows = x[:64].astype(np.float64)
    np.testing.assert_allclose(centre, geometric_median(torch.from_numpy(rows)), rtol=1e-6)
    assert np.abs(centre.numpy() - TRAIN.mean(0)).max() < 2.0
    assert np.abs(rows.mean(0) - TRAIN.mean(0)).max() > 400.0


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_threads(
    given: tuple[str, ...], configure: Configure, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = (*given, "dataset.scale=rms")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for centre in ("mean", "geometric_median"):
            data = read_dataset(configure(*how, f"dataset.centre={centre}"))
            torch.set_num_threads(3 - threads)
            again = read_dataset(configure(*how, f"dataset.centre={centre}"))
            np.testing.assert_array_equal(values(data), values(again))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "how",
    [
        ("dataset.centre=mean",),
        ("dataset.centre=geometric_median", "dataset.scale=rms", "dataset.divisor=2"),
    ],
)
def test_a_loaded_run_takes_and_gives_raw_values(
    given: tuple[str, ...], configure: Configure, tmp_path: Path, how: tuple[str, ...]
) -> None:
    config = configure(*given, *how)
    summary = train(config, tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    data = read_dataset(config)
    (seen,) = data.test.batches(100)
    divisor = config.parts["dataset"]["divisor"]
    raw = X[-8:] / divisor
    codes = torch.from_numpy(run.encode(X[-8:], as_stored=True))
    assert torch.equal(codes, run.autoencoder.encode(seen))
    assert torch.equal(codes, run.encode(seen, as_stored=False))
    if divisor == 1.0:
        np.testing.assert_array_equal(run.encode(raw), codes)
    # The error in raw values is the error of the summary, scaled back.
    error = ((run.decode(codes).numpy() - raw).astype(np.float64) ** 2).mean()
    scale = data.record.inputs.scale
    assert error == pytest.approx(summary["test/mse"] * scale**2, rel=1e-4)
    tensors = safetensors.torch.load_file(tmp_path / "run" / "model.safetensors")
    centre = data.record.inputs.centre
    assert centre is not None
    assert torch.equal(tensors["dataset.centre"], centre)
    assert run.record == data.record


def test_integers_are_divided_and_then_centred(configure: Configure, tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (40, 5), np.uint8)
    np.save(tmp_path / "x.npy", x)
    how = ("dataset=array", f"dataset.path={tmp_path / 'x.npy'}", "dataset.divisor=255")
    config = configure("model=sparse_l1", *QUICK, *how, "dataset.centre=mean", "unit_norm=true")
    train(config, tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    (seen,) = read_dataset(config).test.batches(100)
    wanted = run.autoencoder.encode(seen).detach()
    np.testing.assert_array_equal(run.encode(x[-4:]), wanted)
    np.testing.assert_allclose(run.encode(x[-4:] / np.float32(255)), wanted, atol=1e-6)


def test_a_file_without_its_centre_is_damaged(
    given: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    train(configure(*given, "dataset.centre=mean"), tmp_path / "run", [])
    file = tmp_path / "run" / "model.safetensors"
    with safetensors.safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    del tensors["dataset.centre"]
    safetensors.torch.save_file(tensors, file, metadata)
    with pytest.raises(ConfigError, match=r"dataset.centre is absent, expected F32 \(6,\)"):
        load_run(tmp_path / "run")


def test_reproduced_and_resumed_by_the_commands(
    given: tuple[str, ...], command: Command, reproducing: Command, tmp_path: Path
) -> None:
    how = (*given, "dataset.centre=geometric_median", "dataset.scale=rms", "epochs=3")
    done = command(*how, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "centred by the geometric median; divided by" in done.stdout
    again = reproducing("run", "--into", "again")
    assert again.returncode == 0, again.stdout + again.stderr
    shorter = command(*given, *how[len(given) : -1], "epochs=1", "hydra.run.dir=resumed")
    assert shorter.returncode == 0
    longer = command("resume=resumed", "epochs=3")
    assert longer.returncode == 0, longer.stderr
    models = [tmp_path / name / "model.safetensors" for name in ("run", "again", "resumed")]
    assert len({model.read_bytes() for model in models}) == 1
