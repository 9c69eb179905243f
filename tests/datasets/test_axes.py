"""The axes of arrays of images: their order, and what is asked where nobody can tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from sae_cli.assembly.data import check_data, read_dataset
from sae_cli.assembly.parts import build_parts
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.datasets import Dataset
from sae_cli.datasets.rows import tensors_of
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.architectures.architecture import SEES_AXES
from sae_cli.results.load import load_run
from sae_cli.runs.reproduce import reproduce
from sae_cli.runs.resume import begin_or_resume, resume
from sae_cli.runs.train import train
from tests.conftest import Command, Configure
from tests.contracts.small import page_of
from tests.faults.runs import rewrite, saved_state

RNG = np.random.default_rng(0)
QUICK = ("batch_size=16", "epochs=1", "pictures=false", "progress=false", "dataset.divisor=255")


def images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def overrides(folder: Path, array: np.ndarray, *more: str) -> tuple[str, ...]:
    np.save(folder / "x.npy", array)
    return ("dataset=array", f"dataset.path={folder / 'x.npy'}", *QUICK, *more)


def checked(configure: Configure, *given: str) -> Dataset:
    config = configure(*given)
    data = read_dataset(config)
    check_data(config, build_parts(config), data)
    return data


@pytest.mark.parametrize("model", ["conv", "conv_2d_code", "conv_vae", "recurrent"])
@pytest.mark.parametrize("shape", [(40, 28, 28, 1), (40, 32, 32, 3), (40, 30, 20, 4)])
def test_channels_last_is_asked_about(
    configure: Configure, tmp_path: Path, model: str, shape: tuple[int, ...]
) -> None:
    given = overrides(tmp_path, images(*shape), f"model={model}")
    with pytest.raises(ConfigError) as caught:
        checked(configure, *given)
    said = str(caught.value)
    assert f"has the shape {shape}, which reads as {shape[1]} channels of" in said
    assert "give dataset.axes=channels_last for (n, height, width, channels)" in said
    data = checked(configure, *given, "dataset.axes=channels_last")
    assert data.shape.input_shape == (shape[3], shape[1], shape[2])
    if model == "recurrent":
        data = checked(configure, *given, "dataset.axes=channels_first")
        assert data.shape.input_shape == shape[1:]


@pytest.mark.parametrize("model", ["conv", "recurrent", "local_filters", "conv_group_sparse"])
def test_three_axes_are_asked_about(configure: Configure, tmp_path: Path, model: str) -> None:
    given = overrides(tmp_path, images(40, 28, 28), f"model={model}")
    with pytest.raises(ConfigError, match=r"shape \(40, 28, 28\), .*; give dataset.axes=grey"):
        checked(configure, *given)
    data = checked(configure, *given, "dataset.axes=grey")
    assert data.shape.input_shape == (1, 28, 28)


def test_the_command_asks_before_anything_is_written(tmp_path: Path, command: Command) -> None:
    done = command(*overrides(tmp_path, images(40, 28, 28, 1), "model=conv", "hydra.run.dir=run"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: architecture=conv sees images: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "shape",
    [
        (40, 1, 28, 28),
        (40, 3, 32, 32),
        (40, 4, 28, 28),
        (40, 3, 28, 1),
        (40, 16, 28, 20),
        (40, 28, 28, 2),
        (40, 64, 4, 4),
    ],
)
def test_plausible_channels_are_believed(
    configure: Configure, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    data = checked(configure, *overrides(tmp_path, images(*shape), "model=recurrent"))
    assert data.shape.input_shape == shape[1:]


@pytest.mark.parametrize("shape", [(40, 28, 28, 1), (40, 12, 12, 3)])
def test_a_dense_network_needs_no_answer(
    configure: Configure, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    array = images(*shape)
    data = checked(configure, *overrides(tmp_path, array, "model=ae"))
    (values,) = data.train.batches(100)
    np.testing.assert_array_equal(values, array[:32].astype(np.float32) / 255)


@pytest.mark.parametrize("storage", ["resident", "streamed"])
@pytest.mark.parametrize(("axes", "moved"), [("channels_last", (0, 3, 1, 2)), ("grey", None)])
def test_values_come_in_the_order_that_a_model_sees(
    configure: Configure,
    tmp_path: Path,
    axes: str,
    moved: Any,
    storage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NumPy's transposition; the file stays mapped."""
    if storage == "streamed":
        monkeypatch.setattr("sae_cli.datasets.stream.free_bytes", lambda device: 0)
    array = images(50, 6, 8, 3) if moved else images(50, 6, 8)
    given = overrides(tmp_path, array, "model=recurrent", f"dataset.axes={axes}")
    data = checked(configure, *given).to(torch.device("cpu"))
    assert (data.train.streamed_to is not None) is (storage == "streamed")
    expected = array.transpose(moved) if moved else array[:, None]
    for batch, start in zip(data.train.batches(7), range(0, 40, 7), strict=True):
        assert batch.is_contiguous()
        wanted = expected[start : start + 7][: len(batch)].astype(np.float32) / 255
        np.testing.assert_array_equal(batch, wanted)
    (one,), (other,) = tensors_of(data.train.stored), tensors_of(data.val.stored)
    assert one.data_ptr() == other.data_ptr()


def test_channels_last_trains_as_channels_first(configure: Configure, tmp_path: Path) -> None:
    """To the bit."""
    array = images(40, 16, 16, 3)
    last = overrides(tmp_path, array, "model=conv", "dataset.axes=channels_last")
    train(configure(*last), tmp_path / "last", [])
    (tmp_path / "moved").mkdir()
    first = overrides(tmp_path / "moved", array.transpose(0, 3, 1, 2).copy(), "model=conv")
    train(configure(*first), tmp_path / "first", [])
    lines = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("last", "first")]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("axes", "shape", "says"),
    [
        ("channels_last", (40, 8, 8), r"is for arrays \(n, height, width, channels\), and"),
        ("channels_first", (40, 8, 8), r"is for arrays \(n, channels, height, width\), and"),
        ("grey", (40, 8, 8, 1), r"is for arrays \(n, height, width\), and"),
        ("grey", (40, 64), r"has the shape \(40, 64\); leave dataset.axes=null"),
    ],
)
def test_axes_that_an_array_does_not_have(
    configure: Configure, tmp_path: Path, axes: str, shape: tuple[int, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        checked(configure, *overrides(tmp_path, images(*shape), f"dataset.axes={axes}"))


def test_a_run_of_an_earlier_version_resumes(configure: Configure, tmp_path: Path) -> None:
    """It has no ``dataset.axes``, and nobody was asked: it trains on as it began."""
    given = overrides(tmp_path, images(40, 8, 6), "model=recurrent", "dataset.axes=as_stored")
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(configure(*given), run, [])
    train(configure(*given, "epochs=2"), whole, [])
    page = run / "config.yaml"
    text = page.read_text()
    assert "  axes: as_stored\n" in text
    page.write_text(text.replace("  axes: as_stored\n", ""))
    checkpoint = run / "checkpoints" / "last.pt"
    config = saved_state(checkpoint).config
    del config["dataset"]["axes"]
    rewrite(checkpoint, config=config)
    resume(run, {"epochs": 2})
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    # So does the command that began it, which has left the axes open.
    open_again = overrides(tmp_path, np.load(tmp_path / "x.npy"), "model=recurrent", "epochs=2")
    assert begin_or_resume(configure(*open_again), run, [])["status"] == "finished"


@pytest.mark.parametrize("name", ARCHITECTURES.names)
def test_which_architectures_see_axes(name: str) -> None:
    """Those that refuse a row of features do; others flatten what they see."""
    shape = DataShape((840,), None)
    section = page_of(f"architecture/{name}.yaml")
    try:
        with torch.device("meta"):
            ARCHITECTURES.build(section, shape, Pointwise("identity"), Generator("cpu"))
    except ConfigError:
        assert name in SEES_AXES
    else:
        assert name not in SEES_AXES


@pytest.mark.parametrize("model", ["ae", "sparse_l1", "conv"])
def test_three_axes_are_asked_about_by_every_model(
    configure: Configure, tmp_path: Path, model: str
) -> None:
    given = overrides(tmp_path, images(40, 7, 9), f"model={model}")
    with pytest.raises(ConfigError) as caught:
        checked(configure, *given)
    said = str(caught.value)
    assert "dataset.axes=tokens for 280 examples of 9 features" in said
    assert "dataset.axes=features for 40 of 63" in said
    assert "\n" not in said


@pytest.mark.parametrize("storage", ["resident", "streamed"])
def test_features_are_all_axes_but_the_first(
    configure: Configure, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if storage == "streamed":
        monkeypatch.setattr("sae_cli.datasets.stream.free_bytes", lambda device: 0)
    array = images(40, 7, 9)
    data = checked(configure, *overrides(tmp_path, array, "model=ae", "dataset.axes=features"))
    data = data.to(torch.device("cpu"))
    assert data.shape.input_shape == (63,)
    (values,) = data.train.batches(100)
    np.testing.assert_array_equal(values, array[:32].reshape(32, 63).astype(np.float32) / 255)


@pytest.mark.parametrize("shape", [(10, 8, 6), (10, 2, 4, 6), (80, 6)])
def test_tokens_are_all_axes_but_the_last(
    configure: Configure, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """The record of the data tells which text and token an example is."""
    array = images(*shape)
    data = checked(configure, *overrides(tmp_path, array, "model=ae", "dataset.axes=tokens"))
    assert data.shape.input_shape == (6,)
    assert len(data.train) == 64
    (values,) = data.train.batches(100)
    np.testing.assert_array_equal(values, array.reshape(80, 6)[:64].astype(np.float32) / 255)
    if len(shape) == 2:
        assert data.record.leading is None
        assert "leading" not in data.record.as_dict()
        return
    assert data.record.leading == shape[:-1]
    assert f"{shape}, 80 examples, range" in data.source
    place = np.unravel_index(37, data.record.leading)
    np.testing.assert_array_equal(values[37], array[place].astype(np.float32) / 255)


def test_a_run_remembers_which_token_was_which(configure: Configure, tmp_path: Path) -> None:
    given = overrides(tmp_path, images(10, 8, 6), "model=ae", "dataset.axes=tokens")
    train(configure(*given), tmp_path / "run", [])
    assert load_run(tmp_path / "run").record.leading == (10, 8)


def test_tokens_that_lie_in_another_order(configure: Configure, tmp_path: Path) -> None:
    array = np.asfortranarray(images(10, 8, 6))
    with pytest.raises(ConfigError, match=r"save it in that of C: numpy\.ascontiguousarray"):
        checked(configure, *overrides(tmp_path, array, "dataset.axes=tokens"))


def test_a_run_that_was_not_asked_resumes_and_is_reproduced(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of a version that trained dense networks on any axes; to the bit."""
    given = overrides(tmp_path, images(40, 8, 6), "model=ae")
    run, whole = tmp_path / "run", tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr("sae_cli.datasets.array.doubt_of_rows", lambda shape, what: "")
        train(configure(*given), run, [])
        train(configure(*given, "epochs=2"), whole, [])
    resume(run, {"epochs": 2})
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert reproduce(whole, tmp_path / "again", {})
    with pytest.raises(ConfigError, match=r"dataset\.axes=tokens"):
        train(configure(*given), tmp_path / "new", [])
