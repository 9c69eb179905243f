"""The MNIST family: local files of every layout, damage of every kind, no network."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from sae_cli.datasets import DATASETS, Dataset
from sae_cli.datasets.mnist import FILES
from sae_cli.registry import ConfigError

RNG = np.random.default_rng(0)
TRAIN, TEST = 40, 10
ARRAYS = [
    RNG.integers(0, 256, (TRAIN, 28, 28), np.uint8),
    RNG.integers(0, 10, TRAIN, np.uint8),
    RNG.integers(0, 256, (TEST, 28, 28), np.uint8),
    RNG.integers(0, 10, TEST, np.uint8),
]


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write(folder: Path, gzipped: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FILES, ARRAYS, strict=True):
        path = folder / (f"{name}.gz" if gzipped else name)
        path.write_bytes(gzip.compress(idx(array)) if gzipped else idx(array))
    return folder


def read(root: Path, name: str = "mnist", **options: Any) -> Dataset:
    section = {"name": name, "root": str(root), "download": False, "verify": False, "val": 15}
    return DATASETS.build(DATASETS.check(section | options))


def expect(root: Path, says: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(root, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_values_labels_and_splits(tmp_path: Path, layout: str, gzipped: bool) -> None:
    write(tmp_path / layout, gzipped)
    data = read(tmp_path)
    images, labels, test_images, _ = ARRAYS
    for split, wanted in (
        (data.train, images[:25]),
        (data.val, images[25:]),
        (data.test, test_images),
    ):
        (values,) = split.batches(100)
        np.testing.assert_array_equal(values[:, 0].numpy(), wanted.astype(np.float32) / 255)
    assert data.val.labels is not None
    assert data.val.labels[data.val.rows].tolist() == labels[25:].tolist()
    assert data.shape.input_shape == (1, 28, 28)


def test_torchvision_reads_the_same(tmp_path: Path) -> None:
    write(tmp_path / "MNIST" / "raw")
    theirs = torchvision.datasets.MNIST(str(tmp_path), train=True)
    ours = read(tmp_path).train
    assert torch.equal(ours.stored[:, 0], theirs.data)
    assert ours.labels is not None
    assert torch.equal(ours.labels, theirs.targets)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:-1], "and it holds only 31359"),
        (lambda b: b + b"x", "and it holds more"),
        (lambda b: b[:9], "ends within its header, after 9 bytes"),
        (lambda b: b"", "ends within its header, after 0 bytes"),
        (lambda b: b"\x00\x00\x0d\x03" + b[4:], "it begins with 00000d03"),
        (lambda b: b"<html>not found</html>", "it begins with 3c68746d"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], "more than 2147483648 values"),
    ],
)
def test_damage_names_the_file(tmp_path: Path, change: Any, says: str) -> None:
    path = write(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    assert str(path) in expect(tmp_path, says)


def test_a_gzip_file_cut_in_half(tmp_path: Path) -> None:
    path = write(tmp_path, gzipped=True) / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:500])
    assert str(path) in expect(tmp_path, "cannot be unpacked or read")


def test_a_changed_value_is_found_by_its_digest(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    assert str(path) in expect(tmp_path, "SHA-256 is not that of the published file", verify=True)


def test_labels_for_other_images(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(ARRAYS[1][:-1]))
    expect(tmp_path, "has 39 labels for 40 images")


def test_too_many_validation_images(tmp_path: Path) -> None:
    expect(write(tmp_path), "leave nothing of the 40 examples", val=40)


def test_missing_files_say_where_they_were_looked_for(tmp_path: Path) -> None:
    write(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    said = expect(tmp_path, "t10k-labels-idx1-ubyte (or .gz) were looked for in")
    assert f"{tmp_path}, {tmp_path}/MNIST/raw" in said
    assert "set dataset.root=FOLDER" in said
    assert "dataset.download=true" in said


def test_without_a_network_the_download_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried everything")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    root = tmp_path / "new" / "data"
    expect(
        root, "the download failed: Error downloading train-images-idx3-ubyte.gz;", download=True
    )
    assert not (tmp_path / "new").exists()


def test_a_download_is_read_from_where_torchvision_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(self: torchvision.datasets.MNIST) -> None:
        write(Path(self.raw_folder))

    monkeypatch.setattr("torchvision.datasets.MNIST.download", fetched)
    data = read(tmp_path / "data", name="kmnist", download=True)
    assert data.source.endswith("data/KMNIST/raw")
    assert (len(data.train), len(data.val), len(data.test)) == (25, 15, 10)


def test_fingerprints_tell_sets_apart(tmp_path: Path) -> None:
    one, other = read(write(tmp_path)), read(tmp_path)
    assert one.fingerprint() == other.fingerprint()
    images, labels, *_ = ARRAYS
    digest = hashlib.sha256(b"train torch.uint8 (1, 28, 28) 25\n")
    digest.update(images[:25].tobytes() + labels[:25].astype(np.int64).tobytes())
    digest.update(b"val torch.uint8 (1, 28, 28) 15\n")
    digest.update(images[25:].tobytes() + labels[25:].astype(np.int64).tobytes())
    digest.update(b"test torch.uint8 (1, 28, 28) 10\n")
    digest.update(ARRAYS[2].tobytes() + ARRAYS[3].astype(np.int64).tobytes())
    assert one.fingerprint() == digest.hexdigest()
    changed = ARRAYS[0].copy()
    changed[30, 0, 0] ^= 1
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(changed))
    assert read(tmp_path).fingerprint() != one.fingerprint()


def test_published_fashion_mnist(fashion_mnist: dict[str, Tensor]) -> None:
    assert {name: len(part) for name, part in fashion_mnist.items()} == {
        **{"train": 55_000, "val": 5_000, "test": 10_000},
    }
    on = (fashion_mnist["val"] / 255 > 0.5).float().mean()
    assert float(on) == pytest.approx(0.3176, abs=5e-5)
