"""Patches of photographs: whitened, centred, drawn by a seed, and no pixel in two splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset
from sae_cli.datasets.dataset import Split


def read(path: Path | None = None, **options: Any) -> Dataset:
    section: dict[str, Any] = {"name": "natural_patches", "path": path and str(path)}
    section |= {"patch_size": 6, "train": 5000, "val": 300, "test": 200}
    section |= {"whiten": "zca", "zca_epsilon": 1e-3, "patch_seed": 0}
    return DATASETS.build(DATASETS.check(section | options))


def flat(split: Split) -> Any:
    return next(split.batches(len(split))).flatten(1).double().numpy()


def test_patches_are_those_of_scikit_learns_photographs() -> None:
    """An unwhitened patch is a scaled window of a grey photograph, less a constant patch."""
    data = read(whiten="none", train=40)
    assert data.shape.input_shape == (1, 6, 6)
    pictures = [
        np.asarray(Image.fromarray(image).convert("L"), np.float64)
        for image in load_sample_images().images
    ]
    # The mean patch falls out of the difference of two patches of the same photograph.
    one, other = flat(data.train)[0], flat(data.train)[1]
    windows = np.lib.stride_tricks.sliding_window_view(pictures[0], (6, 6)).reshape(-1, 36)
    windows = windows - windows.mean(1, keepdims=True)
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 427 - 6 + 1, 20), rng.integers(0, 640 - 128 - 6 + 1, 20)
    wanted = windows[rows * 635 + columns]
    difference = wanted[0] - wanted[1]
    scale = (one - other) @ difference / (difference @ difference)
    np.testing.assert_allclose(one - other, scale * difference, atol=3e-4)


def test_the_mean_of_each_patch_is_gone_and_the_variance_is_one() -> None:
    for whiten in ("none", "zca"):
        x = flat(read(whiten=whiten).train)
        assert np.abs(x.mean(0)).max() < 2e-4
        assert x.var() == pytest.approx(1.0, abs=1e-4)
        # The mean patch is subtracted from each patch as well; its own mean is zero.
        assert np.abs(x.mean(1)).max() < 2e-3


def test_whitened_patches_have_the_covariance_that_the_formula_gives() -> None:
    plain, white = flat(read(whiten="none").train), flat(read().train)
    values, vectors = np.linalg.eigh(np.cov(plain.T, bias=True))
    expected = values / (values + 1e-3)
    expected *= 36 / expected.sum()
    # Symmetric whitening keeps the axes and changes the variances; the mean's direction has none.
    found = vectors.T @ np.cov(white.T, bias=True) @ vectors
    np.testing.assert_allclose(found, np.diag(expected), atol=2e-3)
    # Apart from that direction, the covariance is about the identity.
    assert np.diag(found)[3:] == pytest.approx(1.0, abs=0.1)
    assert abs(found[0, 0]) < 1e-3


def test_other_splits_are_transformed_as_the_training_split_was() -> None:
    """ZCA is one matrix: fitted to the training patches, it also gives the validation patches."""
    plain, white = read(whiten="none"), read()
    transform = np.linalg.pinv(flat(plain.train), rcond=1e-3) @ flat(white.train)
    np.testing.assert_allclose(flat(plain.val) @ transform, flat(white.val), atol=0.05)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert read().fingerprint() == read().fingerprint()
    assert read().fingerprint() != read(patch_seed=1).fingerprint()


def test_no_pixel_is_in_two_splits(tmp_path: Path) -> None:
    """In a ramp of brightness the place of a patch can be read off its contrast."""
    column = np.arange(200)
    # Brightness is the square of the column, so neighbouring pixels differ by their place.
    ramp = np.tile((column**2 / 200**2 * 255), (40, 1)).round().astype(np.uint8)
    for name in "ab":
        Image.fromarray(ramp).save(tmp_path / f"{name}.png")
    data = read(tmp_path, whiten="none", train=500, patch_size=12)
    contrast = {}
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        x = flat(split).reshape(-1, 12, 12)
        contrast[name] = x[:, 0, -1] - x[:, 0, 0]
    assert contrast["train"].max() < contrast["val"].min()
    assert contrast["val"].max() < contrast["test"].min()
    assert (len(data.train), len(data.val), len(data.test)) == (500, 300, 200)


def test_pictures_of_sub_folders_and_other_modes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "deep" / "colour.png")
    Image.fromarray(noise[..., 0]).save(tmp_path / "grey.bmp")
    assert torch.isfinite(read(tmp_path).train.tensor).all()


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae_cli.datasets.natural_patches.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'sae-train\[images\]'"):
        read()


def test_folders_and_pictures_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; give a folder of pictures"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="has no pictures"):
        read(tmp_path)
    Image.fromarray(np.full((30, 60), 7, np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(ConfigError, match="training patches are flat"):
        read(tmp_path)
    with pytest.raises(ConfigError, match=r"60 x 30 pixels; dataset\.patch_size=21 needs"):
        read(tmp_path, patch_size=21)
    (tmp_path / "flat.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"flat\.png cannot be read as a picture"):
        read(tmp_path)
