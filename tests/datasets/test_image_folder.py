"""Images in class folders, against images decoded by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset

RNG = np.random.default_rng(0)


def read(path: Path, **options: Any) -> Dataset:
    section = {"name": "image_folder", "path": str(path), "size": 8, "channels": 3}
    section |= {"val": 0.2, "test": 0.2, "split_seed": 0}
    return DATASETS.build(DATASETS.check(section | options))


def write(root: Path, height: int = 8, width: int = 8) -> list[np.ndarray]:
    """Ten images, five in each of two classes."""
    images = []
    for i in range(10):
        folder = root / "ab"[i // 5]
        folder.mkdir(parents=True, exist_ok=True)
        images.append(RNG.integers(0, 256, (height, width, 3), np.uint8))
        Image.fromarray(images[-1]).save(folder / f"{i}.png")
    return images


def test_images_of_the_right_size_come_as_they_are(tmp_path: Path) -> None:
    images = write(tmp_path)
    data = read(tmp_path)
    stored = data.train.tensor.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(stored, np.stack(images))
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0] * 5 + [1] * 5
    assert (len(data.train), len(data.val), len(data.test), data.n_classes) == (6, 2, 2, 2)
    rows = [*data.train.rows.tolist(), *data.val.rows.tolist(), *data.test.rows.tolist()]
    assert sorted(rows) == list(range(10))


def test_grey_is_the_luma_of_the_image(tmp_path: Path) -> None:
    images = write(tmp_path)
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    np.testing.assert_array_equal(read(tmp_path, channels=1).train.tensor[:, 0].numpy(), grey)


def test_the_centre_of_a_wide_image_is_cut_out(tmp_path: Path) -> None:
    images = write(tmp_path, width=14)
    stored = read(tmp_path).train.tensor[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(stored, images[0][:, 3:11])


def test_folders_and_files_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"has no class folders"):
        read(tmp_path)
    write(tmp_path)
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"bad\.png cannot be read as a picture"):
        read(tmp_path)


def test_shares_that_leave_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"val=0\.5 and dataset\.test=0\.5 leave nothing"):
        read(tmp_path, val=0.5, test=0.5)


def test_pixels_are_those_of_torchvision(tmp_path: Path) -> None:
    write(tmp_path, height=20, width=31)
    prepare = v2.Compose([v2.Resize(8), v2.CenterCrop(8), v2.PILToTensor()])
    theirs = [image for image, _ in ImageFolder(str(tmp_path), prepare)]
    np.testing.assert_array_equal(read(tmp_path).train.stored, np.stack(theirs))


def test_what_is_not_a_class_and_what_is_not_a_picture(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    assert read(tmp_path).n_classes == 2
    deep = Image.fromarray((np.arange(64).reshape(8, 8) * 900).astype(np.uint16))
    deep.save(tmp_path / "a" / "deep.png")
    with pytest.raises(ConfigError, match=r"pixels of more than 8 bits"):
        read(tmp_path)
    (tmp_path / "a" / "deep.png").unlink()
    Image.new("L", (1, 2000)).save(tmp_path / "a" / "long.png")
    with pytest.raises(ConfigError, match=r"long\.png is 1 x 2000 pixels; one side may be at most"):
        read(tmp_path)
    (tmp_path / "c").mkdir()
    with pytest.raises(ConfigError, match="the class folder c has no pictures"):
        read(tmp_path)


def test_a_share_of_less_than_one_picture(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"dataset\.val=0\.01 is less than one of the 10"):
        read(tmp_path, val=0.01)
