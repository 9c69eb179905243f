"""CIFAR-10: the binary version, torchvision's own, and neither."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 3, 32, 32), np.uint8)
LABELS = RNG.integers(0, 10, 60, np.uint8)


def read(root: Path, **options: Any) -> Dataset:
    section = {"name": "cifar10", "root": str(root), "download": False, "val": 10}
    return DATASETS.build(DATASETS.check(section | options))


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten images a file instead of ten thousand."""
    monkeypatch.setattr("sae_cli.datasets.cifar10.N_PER_FILE", 10)


def write_binary(root: Path) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    records = np.concatenate([LABELS[:, None], IMAGES.reshape(60, -1)], 1)
    for i in range(5):
        (folder / f"data_batch_{i + 1}.bin").write_bytes(records[i * 10 : i * 10 + 10].tobytes())
    (folder / "test_batch.bin").write_bytes(records[50:].tobytes())
    return folder


def test_binary_version(tmp_path: Path) -> None:
    write_binary(tmp_path)
    data = read(tmp_path)
    (test,) = data.test.batches(100)
    np.testing.assert_array_equal(test.numpy(), IMAGES[50:].astype(np.float32) / 255)
    assert (len(data.train), len(data.val)) == (40, 10)
    assert data.val.rows.tolist() == list(range(40, 50))
    assert data.train.labels is not None
    assert data.train.labels.tolist() == LABELS[:50].tolist()


def test_python_version_as_torchvision_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images are not the real ones, so torchvision's check of digests is taken out here."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        part = slice(i * 10, i * 10 + 10)
        batch = {"data": IMAGES[part].reshape(10, -1), "labels": LABELS[part].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    for module in ("cifar", "utils"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *args: True)
    data = read(tmp_path)
    check(data)
    # The cache answers now: nothing is unpickled again unless a file changes.
    monkeypatch.setattr("sae_cli.datasets.cifar10._torchvision_read", None)
    again = read(tmp_path)
    check(again)
    assert again.fingerprint() == data.fingerprint()
    (folder / "batches.meta").write_bytes(b"changed")
    with pytest.raises(TypeError):
        read(tmp_path)


def check(data: Dataset) -> None:
    (test,) = data.test.batches(100)
    np.testing.assert_array_equal(test.numpy(), IMAGES[50:].astype(np.float32) / 255)
    np.testing.assert_array_equal(data.train.tensor.numpy(), IMAGES[:50])
    assert data.train.labels is not None
    assert data.test.labels is not None
    assert data.train.labels.tolist() == LABELS[:50].tolist()
    assert data.test.labels.tolist() == LABELS[50:].tolist()


def test_a_pickle_of_another_digest_is_never_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "marker",))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ConfigError, match="is not the published file: its MD5"):
        read(tmp_path)
    assert not (tmp_path / "marker").exists()


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    folder = write_binary(tmp_path)
    (folder / "data_batch_3.bin").write_bytes(b"x" * 3074)
    with pytest.raises(ConfigError, match=r"data_batch_3\.bin has 3074 bytes, expected 30730"):
        read(tmp_path)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(ConfigError, match=r"data_batch_3\.bin is missing"):
        read(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"did not find cifar-10-batches-bin .*; dataset\.download=false forbids"
    ):
        read(tmp_path)
