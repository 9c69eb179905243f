"""Arrays from files: values, memory mapping, splits, labels, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from sae_cli.datasets import DATASETS, Dataset
from sae_cli.registry import ConfigError
from sae_cli.shapes import Interval

X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def read(path: Path, **options: Any) -> Dataset:
    section: dict[str, Any] = {"name": "array", "path": str(path), "key": None, "labels": None}
    section |= {"val": 0.1, "test": 0.2, "shuffle_seed": None}
    return DATASETS.build(DATASETS.check(section | options))


def expect(path: Path, says: str, **options: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def save(path: Path, array: np.ndarray = X) -> Path:
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, x=array)
    else:
        safetensors.torch.save_file({"x": torch.from_numpy(array)}, path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
def test_values_and_splits_in_the_files_order(tmp_path: Path, kind: str) -> None:
    data = read(save(tmp_path / f"x.{kind}"))
    values = torch.cat([next(s.batches(100)) for s in (data.train, data.val, data.test)])
    np.testing.assert_array_equal(values.numpy(), X)
    assert (len(data.train), len(data.val), len(data.test)) == (35, 5, 10)
    assert data.interval == Interval(float(X.min()), float(X.max()))
    assert "float32 (50, 6), range [" in data.source


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "uint8", "int8", "int16", "int32", "int64", ">f4"]
)
def test_number_types(tmp_path: Path, dtype: str) -> None:
    array = (X * 10).clip(0, 100).astype(dtype)
    (values,) = read(save(tmp_path / "x.npy", array)).train.batches(100)
    np.testing.assert_array_equal(values.numpy(), array[:35].astype(np.float32))


def test_bfloat16_of_safetensors(tmp_path: Path) -> None:
    tensor = torch.from_numpy(X).bfloat16()
    safetensors.torch.save_file({"x": tensor}, tmp_path / "x.safetensors")
    (values,) = read(tmp_path / "x.safetensors").train.batches(100)
    assert torch.equal(values, tensor[:35].float())


def test_a_npy_file_is_mapped_and_never_changed(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy")
    before = path.read_bytes()
    data = read(path)
    data.train.values(data.train.rows).zero_()
    data.train.stored.zero_()
    assert path.read_bytes() == before


def test_a_seed_draws_the_split(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy")
    one, again, other = (read(path, shuffle_seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.train.rows, again.train.rows)
    assert not torch.equal(one.train.rows, other.train.rows)
    rows = torch.cat([one.train.rows, one.val.rows, one.test.rows])
    assert sorted(rows.tolist()) == list(range(50))


def test_labels_from_a_file_or_a_key(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy")
    labels = np.arange(50) % 3
    np.save(tmp_path / "y.npy", labels)
    data = read(path, labels=str(tmp_path / "y.npy"))
    assert data.n_classes == 3
    np.savez(tmp_path / "both.npz", x=X, y=labels)
    both = read(tmp_path / "both.npz", key="x", labels="y")
    for found in (data.train.labels, both.train.labels):
        assert found is not None
        assert found.tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (
            np.where(np.arange(300).reshape(50, 6) == 100, np.nan, X),
            "a value in row 16 that is not",
        ),
        (
            np.where(np.arange(300).reshape(50, 6) == 299, np.inf, X),
            "a value in row 49 that is not",
        ),
        (np.full((50, 6), 1e300), "a value in row 0 that is not a finite number"),
        (np.full((50, 6), 2.5), "holds nothing but 2.5"),
        (X[:2], "has shape (2, 6); expected (examples, features)"),
        (X[0], "has shape (6,); expected (examples, features)"),
        (X[:, :0], "has shape (50, 0)"),
        (X.astype(complex), "holds complex128; expected float16"),
        (X.astype(str), "holds <U32; expected float16"),
    ],
)
def test_arrays_that_will_not_do(tmp_path: Path, array: np.ndarray, says: str) -> None:
    expect(save(tmp_path / "x.npy", array), says)


def test_shares_that_leave_nothing(tmp_path: Path) -> None:
    expect(save(tmp_path / "x.npy"), "leave nothing of the 50 examples", val=0.5, test=0.5)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "marker",))

    expect(save(tmp_path / "x.npy", np.array([Evil()] * 4, object)), "holds no plain array")
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Evil()))
    expect(tmp_path / "y.npy", "holds no plain array")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("keep", [0, 5, -20])
def test_truncated_files(tmp_path: Path, kind: str, keep: int) -> None:
    path = save(tmp_path / f"x.{kind}")
    path.write_bytes(path.read_bytes()[:keep])
    expect(path, f"{path} is damaged or holds no plain array")


def test_paths_and_keys_that_will_not_do(tmp_path: Path) -> None:
    expect(tmp_path / "x.csv", "must end in .npy, .npz, .safetensors")
    expect(tmp_path / "x.npy", "no such file")
    np.savez(tmp_path / "two.npz", codes=X, other=X)
    expect(tmp_path / "two.npz", "holds codes, other; choose one with dataset.key=KEY")
    expect(tmp_path / "two.npz", "did you mean codes?", key="code")


@pytest.mark.parametrize("labels", [np.arange(49), X[:, 0], -np.ones(50, int)])
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray) -> None:
    np.save(tmp_path / "y.npy", labels)
    path = save(tmp_path / "x.npy")
    expect(path, "expected 50 integers from 0 on", labels=str(tmp_path / "y.npy"))
