"""A run loaded into Python, and folders that are not runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_digits

from sae_cli import load_run
from sae_cli.core.errors import ConfigError
from sae_cli.runs.train import train
from tests.configured import configured
from tests.conftest import SMALL
from tests.contracts.small import page_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    config = configured("model=sparse_l1", "pictures=false", *SMALL)
    train(config, path, [])
    return path


def test_encode_and_decode_what_the_run_reported(folder: Path) -> None:
    """The test MSE of the summary, from nothing but the folder and scikit-learn's digits."""
    run = load_run(folder)
    x = load_digits().images[-1500:] / 16
    x_hat = run.decode(run.encode(x))[:, 0]
    assert run.summary["test/mse"] == pytest.approx(((x_hat - x) ** 2).mean(), rel=1e-5)
    codes = run.encode(x)
    assert codes.shape == (1500, 64)
    assert run.summary["test/l0"] == pytest.approx((codes > 0).sum(1).mean())


def test_flat_examples_will_do(folder: Path) -> None:
    run = load_run(str(folder))
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(run.encode(x), run.encode(x.flatten(1)))
    assert run.decode(run.encode(x)).shape == (3, 1, 8, 8)


def test_configuration_and_metrics_are_at_hand(folder: Path) -> None:
    run = load_run(folder)
    assert run.config.parts["penalty"] == page_of("penalty/l1.yaml") | {"weight": 0.1}
    assert [line["epoch"] for line in run.metrics] == [0, 1]
    assert run.metrics[-1]["val/fvu"] == run.summary["val/fvu"]


def test_a_run_is_written_on_one_line(folder: Path) -> None:
    assert repr(load_run(folder)) == f"Run({str(folder)!r}, sparse_l1, 64 latents)"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope: no such folder or file; give that of a run"):
        load_run(tmp_path / "nope")


def test_wrong_shapes_are_refused(folder: Path) -> None:
    run = load_run(folder)
    with pytest.raises(ValueError, match=r"shape \(3, 63\); expected \(batch, 1, 8, 8\) or"):
        run.encode(np.zeros((3, 63)))
    with pytest.raises(ValueError, match=r"shape \(3, 5\); expected \(batch, 64\)"):
        run.decode(np.zeros((3, 5)))


def test_folders_that_are_not_runs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no config\.yaml in it"):
        load_run(tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    model = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(model[:-10])
    with pytest.raises(ConfigError, match=r"model\.safetensors is damaged"):
        load_run(damaged)


def test_a_model_that_says_nothing_of_its_data(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    for metadata in (None, {"shape": "[1"}, {"shape": "{}"}, {"shape": "[]"}):
        safetensors.torch.save_file(tensors, other / "model.safetensors", metadata)
        with pytest.raises(ConfigError, match="damaged or was not saved by sae-train"):
            load_run(other)
    (other / "config.yaml").write_bytes(b"\xff\xfe seed")
    with pytest.raises(ConfigError, match="is not a configuration"):
        load_run(other)


def test_a_model_of_another_configuration_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(
        config.replace("expansion_factor: 1.0", "expansion_factor: 0.9")
    )
    with pytest.raises(ConfigError, match="does not fit"):
        load_run(other)


def test_loading_executes_nothing(folder: Path, tmp_path: Path) -> None:
    """Neither an object tag nor an interpolation of the configuration does anything."""
    evil = tmp_path / "evil"
    shutil.copytree(folder, evil)
    config = (evil / "config.yaml").read_text()
    marker = tmp_path / "marker"
    (evil / "config.yaml").write_text(
        config.replace("seed: 0", f"seed: !!python/object/apply:os.mkdir ['{marker}']")
    )
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_run(evil)
    assert not marker.exists()
    (evil / "config.yaml").write_text(config.replace("seed: 0", "seed: ${oc.env:HOME}"))
    with pytest.raises(ConfigError, match=r"seed=\$\{oc\.env:HOME\}"):
        load_run(evil)


def test_no_rows_give_no_rows(folder: Path) -> None:
    run = load_run(folder)
    assert run.encode(np.zeros((0, 64))).shape == (0, 64)
    assert run.encode(np.zeros((0, 1, 8, 8))).shape == (0, 64)
    assert run.decode(np.zeros((0, 64))).shape == (0, 1, 8, 8)
    with pytest.raises(ValueError, match=r"shape \(0, 63\); expected"):
        run.encode(np.zeros((0, 63)))


def test_integers_are_as_in_the_file_and_fractions_as_the_model_sees_them(folder: Path) -> None:
    """scikit-learn's digits are 0 to 16; the run divided them by 16."""
    run = load_run(folder)
    images = load_digits().images[-100:]
    codes = run.encode(images / 16)
    np.testing.assert_array_equal(run.encode(images.astype(np.uint8)), codes)
    np.testing.assert_array_equal(run.encode(images, as_stored=True), codes)
    with pytest.warns(UserWarning, match=r"values in \[0, 16\] .* on values in \[0, 1\]"):
        run.encode(images)


def test_values_that_were_not_trained_on_are_warned_of_once(folder: Path) -> None:
    run = load_run(folder)
    with pytest.warns(UserWarning, match="on values in") as caught:
        for _ in range(3):
            run.encode(np.full((2, 64), 1.5))
    assert [one.filename for one in caught] == [__file__]
    with pytest.warns(UserWarning, match=r"\[nan, nan\]"):
        load_run(folder).encode(np.full((2, 64), np.nan))
    with pytest.warns(UserWarning, match="holds integers, which are divided by 16"):
        run.encode(np.ones((2, 64), int))
    with pytest.raises(ValueError, match="may be divided by 16 already"):
        run.encode(np.ones((2, 64), bool))


def test_a_run_of_an_earlier_version_takes_what_it_took(folder: Path, tmp_path: Path) -> None:
    """Its model file says nothing but the shape."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    shape = {"shape": '{"input_shape": [1, 8, 8], "n_classes": 10}'}
    safetensors.torch.save_file(tensors, other / "model.safetensors", shape)
    before, run = load_run(other), load_run(folder)
    assert before.record == run.record
    x = load_digits().images[:9] / 16
    np.testing.assert_array_equal(before.encode(x), run.encode(x))
