"""Arrays in the formats that people have them in: values, and what is refused in one line."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import torch

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS, Dataset

X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
LISTS = pa.array(X.tolist(), pa.list_(pa.float32()))


def read(path: Path, **options: Any) -> Dataset:
    section: dict[str, Any] = {"name": "array", "path": str(path), "key": None, "labels": None}
    section |= {"divisor": 1.0, "val": 0.1, "test": 0.2, "shuffle_seed": None}
    return DATASETS.build(DATASETS.check(section | options))


def values(data: Dataset) -> np.ndarray:
    """All examples in order, as a model sees them."""
    splits = (data.train, data.val, data.test)
    return torch.cat([batch for split in splits for batch in split.batches(7)]).numpy()


def expect(path: Path, says: str, **options: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        read(path, **options)
    said = str(caught.value)
    assert says in said
    assert "\n" not in said
    assert str(path) in said


def save_hdf5(path: Path, array: np.ndarray = X, **options: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("group/x" if path.suffix != ".h5ad" else "X", data=array, **options)
        file["text"] = "no number"
        file["other"] = h5py.SoftLink("/group/x")


def save_table(path: Path, array: np.ndarray = X) -> None:
    columns = {f"c{n}": pa.array(array[:, n]) for n in range(array.shape[1])}
    pq.write_table(pa.table(columns), path, row_group_size=20)


def save_lists(path: Path, column: Any = LISTS, **others: Any) -> None:
    pq.write_table(pa.table({"x": column} | others), path, row_group_size=20)


def save_arrow(path: Path, column: Any = LISTS) -> None:
    table = pa.table({"x": column})
    with pa.OSFile(str(path), "w") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)


def save_feather(path: Path) -> None:
    table = pa.table({"x": pa.array(list(X), pa.list_(pa.float32(), 6))})
    with pa.OSFile(str(path), "w") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)


SAVERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tensor": ("x.pt", lambda path: torch.save(torch.from_numpy(X), path)),
    "dictionary": ("x.pth", lambda path: torch.save({"x": torch.from_numpy(X)}, path)),
    "ordered": ("x.pt", lambda path: torch.save(OrderedDict(x=torch.from_numpy(X)), path)),
    "parameter": ("x.pt", lambda p: torch.save(torch.nn.Parameter(torch.from_numpy(X)), p)),
    "transposed": ("x.pt", lambda p: torch.save(torch.from_numpy(X.T.copy()).T, p)),
    "slice": ("x.pt", lambda p: torch.save(torch.from_numpy(np.hstack([X, X]))[:, 6:], p)),
    "hdf5": ("x.h5", save_hdf5),
    "big-endian": ("x.hdf5", lambda path: save_hdf5(path, X.astype(">f4"))),
    "chunks": ("x.hdf5", lambda path: save_hdf5(path, X, compression="gzip", shuffle=True)),
    "anndata": ("x.h5ad", save_hdf5),
    "table": ("x.parquet", save_table),
    "lists": ("x.parquet", save_lists),
    "fixed lists": (
        "x.parquet",
        lambda path: save_lists(path, pa.array(list(X), pa.list_(pa.float32(), 6))),
    ),
    "stream": ("x.arrow", save_arrow),
    "file": ("x.arrow", save_feather),
    "csv": ("x.csv", lambda path: np.savetxt(path, X, delimiter=",", fmt="%.9g")),
    "names": (
        "x.csv",
        lambda path: np.savetxt(path, X, "%.9g", ",", header="a,b,c,d,e,f", comments=""),
    ),
    "tsv": ("x.tsv", lambda path: np.savetxt(path, X, delimiter="\t", fmt="%.9g")),
}


@pytest.mark.parametrize("form", SAVERS)
def test_every_form_gives_its_rows(tmp_path: Path, form: str) -> None:
    name, save = SAVERS[form]
    save(tmp_path / name)
    data = read(tmp_path / name)
    np.testing.assert_array_equal(values(data), X)
    assert "(50, 6), range [" in data.source


DTYPES = ("float16", "float64", "bool", "uint8", "uint16", "uint64", "int8", "int64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ending", ["pt", "h5", "parquet", "arrow"])
def test_number_types(tmp_path: Path, ending: str, dtype: str) -> None:
    array = (X * 10).clip(0, 100).astype(dtype)
    if ending == "pt":
        torch.save(torch.from_numpy(array), tmp_path / "x.pt")
    elif ending == "h5":
        save_hdf5(tmp_path / "x.h5", array)
    elif ending == "parquet":
        save_table(tmp_path / "x.parquet", array)
    else:
        kind = pa.from_numpy_dtype(array.dtype)
        save_arrow(tmp_path / "x.arrow", pa.array(list(array), pa.list_(kind)))
    data = read(tmp_path / f"x.{ending}")
    np.testing.assert_array_equal(values(data), array.astype(np.float32))
    assert data.train.stored.dtype == torch.from_numpy(array).dtype


def test_bfloat16_of_pytorch(tmp_path: Path) -> None:
    tensor = torch.from_numpy(X).bfloat16()
    torch.save(tensor, tmp_path / "x.pt")
    data = read(tmp_path / "x.pt")
    assert data.train.stored.dtype == torch.bfloat16
    np.testing.assert_array_equal(values(data), tensor.float().numpy())


def test_bfloat16_of_numpy_is_named(tmp_path: Path) -> None:
    """The line that is given keeps every bit."""
    bits = torch.from_numpy(X).bfloat16()
    np.save(tmp_path / "x.npy", bits.view(torch.int16).numpy().view("V2"))
    expect(tmp_path / "x.npy", "is of V2, as which np.save writes bfloat16")
    expect(
        tmp_path / "x.npy", "torch.from_numpy(np.load(FILE).view(np.int16)).view(torch.bfloat16)"
    )
    found = torch.from_numpy(np.load(tmp_path / "x.npy").view(np.int16)).view(torch.bfloat16)
    assert torch.equal(found, bits)


def test_values_of_pytorch_stay_in_the_file(tmp_path: Path) -> None:
    """They are mapped read-only: a change of the file shows."""
    torch.save(torch.from_numpy(X), tmp_path / "x.pt")
    data = read(tmp_path / "x.pt")
    content = (tmp_path / "x.pt").read_bytes()
    at = content.index(X.tobytes())
    with (tmp_path / "x.pt").open("r+b") as file:
        file.seek(at)
        file.write(np.float32(7).tobytes())
    assert values(data)[0, 0] == 7


class Shell:
    """What a pickle of it would run."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return print, ("a pickle was loaded",)


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ([torch.ones(3, 2)], "holds a list; save a tensor, or a dictionary of tensors"),
        ({"x": torch.ones(3, 2), "layer": 3}, "holds a int by the name 'layer'; save a tensor"),
        ({"x": X}, "holds more than tensors"),
        (Shell(), "holds more than tensors"),
        (
            X,
            "if you trust it, convert it: torch.save(torch.as_tensor(torch.load('x.pt', weights_on",
        ),
        (torch.ones(1, 1).expand(1000, 6), "repeats its values (it was expanded)"),
        (torch.eye(5).to_sparse(), "holds a sparse tensor, and only dense arrays are trained on"),
        (torch.ones(5, 5, dtype=torch.complex64), "is of complex64; convert it to one of float16"),
        (torch.ones(5, 5, dtype=torch.complex128), "is of torch.complex128"),
    ],
)
def test_files_of_pytorch_that_will_not_do(tmp_path: Path, saved: Any, says: str) -> None:
    torch.save(saved, tmp_path / "x.pt")
    expect(tmp_path / "x.pt", says)


def test_an_older_file_of_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(torch.from_numpy(X), path, _use_new_zipfile_serialization=False)
    expect(path, "torch.save(torch.load('x.pt', weights_only=True), FILE)")
    path.write_bytes(pickle.dumps(Shell()))
    expect(path, "is cut off, or not as torch.save writes files")


@pytest.mark.parametrize("form", ["encoded", "older"])
def test_a_sparse_matrix_of_anndata_is_named(tmp_path: Path, form: str) -> None:
    matrix = scipy.sparse.random(50, 6, 0.3, format="csr")
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        group = file.create_group("X")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        if form == "encoded":
            group.attrs["encoding-type"] = "csr_matrix"
    expect(tmp_path / "x.h5ad", "X is a sparse matrix, and only dense arrays are trained on")
    expect(tmp_path / "x.h5ad", "anndata.read_h5ad('x.h5ad').X.toarray())")


def test_keys_of_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/x"], file["b"], file["y"] = X, X * 2, np.arange(50) % 3
    expect(tmp_path / "x.h5", "holds 3 arrays of examples (a/x, b, y); choose one")
    data = read(tmp_path / "x.h5", key="b", labels="y")
    np.testing.assert_array_equal(values(data), X * 2)
    assert data.n_classes == 3


def test_hdf5_whose_values_are_elsewhere(tmp_path: Path) -> None:
    """A file that somebody sent does not make us read others."""
    (tmp_path / "secret").write_bytes(X.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        external = [(str(tmp_path / "secret"), 0, X.nbytes)]
        file.create_dataset("x", X.shape, "f4", external=external)
    expect(tmp_path / "x.h5", "has its values in other files; copy them into this one")
    save_hdf5(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        layout = h5py.VirtualLayout(X.shape, "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "group/x", X.shape)
        file.create_virtual_dataset("x", layout)
    expect(tmp_path / "x.h5", "has its values in other files; copy them into this one")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "group/x")
    expect(tmp_path / "x.h5", "holds 0 arrays of examples")


def test_hdf5_that_announces_more_than_it_holds(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (10**9, 10**6), "f4", chunks=(10, 10))
    expect(tmp_path / "x.h5", "more than it can hold; save it again, with all of its values")


def test_tables_that_will_not_do(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1.0, 2.0], "name": ["b", "c"]}), path)
    expect(path, "its column 'name' does not hold numbers; give columns of numbers only")
    pq.write_table(pa.table({"a": [1.0, None, 3.0], "b": [1, 2, 3]}), path)
    expect(path, "x.parquet[a]: 1 values are missing; remove or fill such rows")
    pq.write_table(pa.table({"a": [1.0], "__index_level_0__": [1]}), path)
    expect(path, "the column '__index_level_0__' is an index of pandas, not a feature")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1.0, 2.0], [3.0]], "the list in place 1 (the first is 0) has 1 values, and others have"),
        ([[1.0, 2.0], None, [3.0, 4.0]], "1 values are missing"),
        ([[1.0, 2.0], [None, 4.0]], "1 values are missing"),
        ([["a"], ["b"]], ""),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_lists_that_will_not_do(tmp_path: Path, kind: str, rows: list[Any], says: str) -> None:
    path = tmp_path / f"x.{kind}"
    (save_lists if kind == "parquet" else save_arrow)(path, pa.array(rows))
    expect(path, says)


def test_fixed_lists_of_which_one_is_missing(tmp_path: Path) -> None:
    """PyArrow's ``values`` would count it."""
    column = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    save_lists(tmp_path / "x.parquet", column)
    expect(tmp_path / "x.parquet", "1 values are missing")


def test_a_column_of_lists_among_others(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    save_lists(path, text=pa.array(["a"] * 50), label=pa.array(np.arange(50) % 2))
    data = read(path, labels="label")
    np.testing.assert_array_equal(values(data), X)
    assert data.n_classes == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2\n3,a\n5,6", "row 2, column 2 (the first is 1) holds 'a', which is not a number"),
        ("a,b\n1,2\n3,", "row 2 below the names, column 2 (the first is 1) holds ''"),
        ("1,2\n3,4\n5\n", "row 3 (the first is 1) has 1 columns, and those before it have 2"),
        ("1,x\n3,4\n5,6\n", "row 1, column 2 (the first is 1) holds 'x'"),
        ("a;b\n1;2\n", "holds '1;2', which is not a number"),
        (",a\n0,1\n1,2\n2,5\n", "its first column has no name, as the index that pandas writes"),
        ("0,1,2\n3,4,5\n5,6,7\n", "as pandas names columns; save it with to_csv(FILE, header=Fal"),
        ("", "at least 3 examples"),
        ("a,b\n", "at least 3 examples"),
        ("1,nan\n" + "2,3\n" * 20, "row 0 (the first is 0) holds nan, which is not finite"),
        ("1,1e999\n" + "2,3\n" * 20, "row 0 (the first is 0) holds inf, which is not finite"),
        ("\udcff\n", "cannot be read"),
    ],
)
def test_text_that_will_not_do(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode(errors="surrogateescape"))
    expect(tmp_path / "x.csv", says)


@pytest.mark.parametrize("ending", ["h5", "hdf5", "h5ad", "parquet", "arrow"])
def test_a_library_that_is_not_installed(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("h5py", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / f"x.{ending}").write_bytes(b"x")
    expect(tmp_path / f"x.{ending}", "which reads such files, is not installed; run `pip install ")


@pytest.mark.parametrize("ending", ["h5", "parquet", "csv"])
def test_more_than_the_free_memory_and_no_disk(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, save = SAVERS[{"h5": "hdf5", "parquet": "table", "csv": "csv"}[ending]]
    save(tmp_path / name)
    monkeypatch.setattr("sae_cli.datasets.formats.unpacked.free_memory", lambda: 1000)
    read(tmp_path / name)
    monkeypatch.setattr("sae_cli.datasets.formats.unnamed_file.cache_folder", lambda: None)
    expect(tmp_path / name, " unpacks to 0.0 MB, and 0.0 MB of memory are free; this user has no")


@pytest.mark.parametrize("form", SAVERS)
def test_files_that_are_cut_off(tmp_path: Path, form: str) -> None:
    """Text may end anywhere between two rows."""
    name, save = SAVERS[form]
    save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.99):
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        if name.endswith("sv"):
            continue
        with pytest.raises(ConfigError) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_compressed_arrow_files_are_refused(tmp_path: Path) -> None:
    """Their values would not stay in the file, and a small one may hold any number of them."""
    table = pa.table({"x": pa.array(X.repeat(20_000, axis=0).ravel())})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), table.schema, options=options) as file:
        file.write_table(table)
    with pytest.raises(ConfigError, match="compressed"):
        read(tmp_path / "x.arrow")


def test_a_tensor_without_values_is_refused(tmp_path: Path) -> None:
    torch.save(torch.empty(9, 4, device="meta"), tmp_path / "x.pt")
    with pytest.raises(ConfigError, match="without its values"):
        read(tmp_path / "x.pt")
