"""Arrays from files: values, memory mapping, splits, labels, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import scipy.sparse
import torch

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import Interval
from sae_cli.datasets import DATASETS, Dataset

X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def read(path: Path, **options: Any) -> Dataset:
    section: dict[str, Any] = {
        "name": "array",
        "path": str(path),
        "key": None,
        "labels": None,
        "divisor": 1.0,
    }
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


NUMBERS = (
    *("float16", "float64", "bool", "uint8", "uint16", "uint32", "uint64"),
    *("int8", "int16", "int32", "int64"),
)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["npy", "safetensors"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_number_types(tmp_path: Path, dtype: str, kind: str, streamed: bool) -> None:
    """Up to the largest that the type holds, as NumPy rounds it to float32."""
    array = (X * 10).clip(0, 100).astype(dtype)
    if np.issubdtype(array.dtype, np.integer):
        array[3, 2] = np.iinfo(array.dtype).max
    data = read(save(tmp_path / f"x.{kind}", array))
    split = replace(data.train, streamed_to=torch.device("cpu")) if streamed else data.train
    values = torch.cat(list(split.batches(8)))
    expected = array.astype(np.float32)
    np.testing.assert_array_equal(values.numpy(), expected[:35])
    assert data.interval == Interval(float(expected.min()), float(expected.max()))
    digest = hashlib.sha256()
    for name, rows in (("train", array[:35]), ("val", array[35:40]), ("test", array[40:])):
        digest.update(f"{name} torch.{dtype} (6,) {len(rows)}\n".encode() + rows.tobytes())
    assert data.fingerprint() == digest.hexdigest()


@pytest.mark.parametrize("dtype", ["uint16", "uint64", "bool"])
def test_number_types_of_labels(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "y.npy", (np.arange(50) % 2).astype(dtype))
    data = read(save(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy"))
    assert data.train.labels is not None
    assert data.train.labels.tolist() == (np.arange(50) % 2).tolist()


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_sparse_matrix_is_named(tmp_path: Path, form: str) -> None:
    scipy.sparse.save_npz(tmp_path / "x.npz", scipy.sparse.random(50, 6, 0.3, format=form))
    expect(tmp_path / "x.npz", "is a sparse matrix of SciPy, and only dense arrays are trained on")
    expect(tmp_path / "x.npz", "scipy.sparse.load_npz('x.npz').toarray())", key="data")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_types_of_safetensors_that_will_not_do(tmp_path: Path, dtype: torch.dtype) -> None:
    safetensors.torch.save_file({"x": torch.from_numpy(X).to(dtype)}, tmp_path / "x.safetensors")
    expect(tmp_path / "x.safetensors", "; convert it to one of F16, BF16, F32, F64, BOOL, U8")


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
            "row 16 (the first is 0) holds nan, which is not finite",
        ),
        (
            np.where(np.arange(300).reshape(50, 6) == 299, np.inf, X),
            "row 49 (the first is 0) holds inf, which is not finite",
        ),
        (
            np.full((50, 6), 1e300),
            "row 0 (the first is 0) holds 1e+300, which is too large for float32",
        ),
        (np.full((50, 6), 2.5), "holds the value 2.5 everywhere"),
        (np.full((50, 6), 2**60) + np.arange(6), "differ by too little for float32"),
        (X.astype(float) * 1e-300, "differ by too little for float32, in which all are 0"),
        (X[:2], "has the shape (2, 6); at least 3 examples"),
        (X[0], "has the shape (6,); the first of at least two axes"),
        (X[:, :0], "has the shape (50, 0)"),
        (X.astype(complex), "is of complex128; convert it to"),
        (X.astype(np.longdouble), "is of float128; convert it to numbers"),
        (X.astype("M8[s]"), "is of datetime64[s]; convert it to numbers"),
        (np.zeros(50, [("a", "<f4")]), "is of [('a', '<f4')]; convert it to numbers"),
        (X.astype(">u2"), "has the byte order of other machines; save it with"),
        (X.astype(str), "is of <U32; convert it to numbers"),
        (X.astype(">f4"), "has the byte order of other machines; save it with"),
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

    expect(save(tmp_path / "x.npy", np.array([Evil()] * 4, object)), "never unpickled")
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Evil()))
    expect(tmp_path / "y.npy", "cannot be read")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
@pytest.mark.parametrize("keep", [0, 5, -20])
def test_truncated_files(tmp_path: Path, kind: str, keep: int) -> None:
    path = save(tmp_path / f"x.{kind}")
    path.write_bytes(path.read_bytes()[:keep])
    expect(path, f"{path} cannot be read (")


def test_paths_and_keys_that_will_not_do(tmp_path: Path) -> None:
    expect(tmp_path / "x.pkl", "ends in .pkl; give a file that ends in .npy, .npz, .safetensors")
    expect(tmp_path / "x.npy", "does not exist")
    np.savez(tmp_path / "two.npz", codes=X, other=X)
    expect(
        tmp_path / "two.npz",
        "holds 2 arrays of examples (codes, other); choose one with dataset.key=NAME",
    )
    expect(tmp_path / "two.npz", "did you mean codes?", key="code")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.arange(49), "labels must be integers of the shape (50,)"),
        (X[:, 0], "labels must be integers of the shape (50,)"),
        (-np.ones(50, int), "values from -1 to -1; classes must be numbered 0, 1"),
        (np.arange(50) + 10**12, "below the number of examples (50)"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray, says: str) -> None:
    np.save(tmp_path / "y.npy", labels)
    expect(save(tmp_path / "x.npy"), says, labels=str(tmp_path / "y.npy"))


def test_labels_that_are_nowhere(tmp_path: Path) -> None:
    np.savez(tmp_path / "both.npz", x=X, labels=np.arange(50) % 3)
    expect(tmp_path / "both.npz", "give one of the keys x, labels", labels="label", key="x")


def test_files_by_the_wrong_name(tmp_path: Path) -> None:
    save(tmp_path / "x.npz").rename(tmp_path / "a.npy")
    expect(tmp_path / "a.npy", "a.npy cannot be read (")
    save(tmp_path / "x.npy").rename(tmp_path / "b.npz")
    expect(tmp_path / "b.npz", "it is not a zip archive")


def test_surplus_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npy")
    path.write_bytes(path.read_bytes() + b"x")
    expect(path, "1 bytes too many after its array")


def test_a_key_of_a_file_without_keys(tmp_path: Path) -> None:
    expect(save(tmp_path / "x.npy"), "holds a single array; leave dataset.key=null", key="x")


@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / f"x.{kind}")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        mutated = bytearray(content)
        for place in rng.integers(0, min(len(mutated), 250), 2):
            mutated[place] = rng.integers(256)
        path.write_bytes(mutated)
        try:
            read(path)
        except ConfigError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50


def test_an_array_larger_than_the_memory_is_mapped(tmp_path: Path) -> None:
    """A sparse file of 256 GB is refused for its first value: nothing more of it was read."""
    path = tmp_path / "x.npy"
    shape = (250_000_000, 256)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.write(np.float32(np.nan).tobytes())
        file.truncate(start + 4 * shape[0] * shape[1])
    expect(path, "row 0 (the first is 0) holds nan")


def test_values_are_divided(tmp_path: Path) -> None:
    bytes_ = (X * 20 + 100).clip(0, 255).astype(np.uint8)
    data = read(save(tmp_path / "x.npy", bytes_), divisor=255.0)
    (values,) = data.train.batches(100)
    np.testing.assert_array_equal(values.numpy(), bytes_[:35].astype(np.float32) / 255)
    assert data.interval == Interval(bytes_.min() / 255, bytes_.max() / 255)
