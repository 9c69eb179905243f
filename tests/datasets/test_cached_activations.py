"""Activations as SAELens caches them: Arrow shards whose rows are texts of tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from sae_cli.datasets.look import look_at
from tests.datasets.test_array_formats import expect, read, values

HOOK = "blocks.0.hook_mlp_out"


def cache(folder: Path, array: np.ndarray, n_shards: int = 3, batch: int = 2) -> Path:
    """Write ``(texts, context, d)`` as Hugging Face's library does, without that library."""
    folder.mkdir()
    _, context, width = array.shape
    shape = json.dumps([[context, width], str(array.dtype)])
    extension = {
        b"ARROW:extension:name": b"datasets.features.features.Array2DExtensionType",
        b"ARROW:extension:metadata": shape.encode(),
    }
    number = pa.float16() if array.dtype == np.float16 else pa.float32()
    nested = pa.list_(pa.list_(number))
    schema = pa.schema(
        [
            pa.field(HOOK, nested, metadata=extension),
            pa.field("token_ids", pa.list_(pa.int32(), context)),
        ]
    )
    names = []
    for shard, texts in enumerate(np.array_split(array, n_shards)):
        names.append(f"data-{shard:05d}-of-{n_shards:05d}.arrow")
        with (
            pa.OSFile(str(folder / names[-1]), "w") as file,
            pa.ipc.new_stream(file, schema) as writer,
        ):
            for start in range(0, len(texts), batch):
                piece = texts[start : start + batch]
                rows = pa.array([list(text) for text in piece], nested)
                ids = pa.array([list(range(context))] * len(piece), schema.field(1).type)
                writer.write_batch(pa.record_batch([rows, ids], schema=schema))
    (folder / "state.json").write_text(json.dumps({"_data_files": names}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    (folder / "cache-0123.arrow").write_bytes(b"what their library has computed")
    return folder


def texts(dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(13, 4, 5)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_tokens_of_all_texts_are_the_examples(tmp_path: Path, dtype: Any) -> None:
    array = texts(dtype)
    data = read(cache(tmp_path / "acts", array))
    np.testing.assert_array_equal(values(data), array.reshape(52, 5).astype(np.float32))
    assert data.train.stored.dtype.itemsize == array.itemsize
    assert data.record.leading == (13, 4)
    assert data.train.inputs.axes == "tokens"
    assert f"acts[{HOOK}] (3 of .arrow, 0.0 MB): float" in data.source
    assert "(13, 4, 5), 52 examples" in data.source


@pytest.mark.parametrize("centre", ["mean", "geometric_median"])
def test_they_are_centred_and_scaled_as_one_array_is(tmp_path: Path, centre: str) -> None:
    """To the bit, and looked at with the same result."""
    array = texts() + 7
    np.save(tmp_path / "whole.npy", array.reshape(-1, 5))
    how = {"centre": centre, "scale": "rms", "shuffle_seed": 1}
    one = read(tmp_path / "whole.npy", **how)
    many = read(cache(tmp_path / "acts", array), **how)
    for a, b in ((one.train, many.train), (one.val, many.val), (one.test, many.test)):
        assert torch.equal(next(a.batches(100)), next(b.batches(100)))
    assert one.interval == many.interval
    assert look_at(one.train) == look_at(many.train)
    seen = next(many.train.batches(100)).double()
    assert float(seen.square().sum(1).mean()) == pytest.approx(5.0, rel=1e-6)


def test_one_shard_is_enough(tmp_path: Path) -> None:
    array = texts()
    folder = cache(tmp_path / "acts", array, n_shards=1, batch=13)
    data = read(folder / "data-00000-of-00001.arrow")
    np.testing.assert_array_equal(values(data), array.reshape(52, 5))


def test_a_shard_of_another_context(tmp_path: Path) -> None:
    folder = cache(tmp_path / "acts", texts())
    other = cache(tmp_path / "other", texts()[:, :3], n_shards=1)
    (other / "data-00000-of-00001.arrow").rename(folder / "data-00001-of-00003.arrow")
    expect(folder, "data-00001-of-00003.arrow[blocks.0.hook_mlp_out] is float32 (13, 3, 5), and")


def test_another_column(tmp_path: Path) -> None:
    data = read(cache(tmp_path / "acts", texts()), key="token_ids")
    np.testing.assert_array_equal(values(data), np.tile(np.arange(4.0), (13, 1)))


def test_lists_of_lists_that_nobody_marked_are_asked_about(tmp_path: Path) -> None:
    """They may be images as well as texts."""
    table = pa.table({"x": pa.array(np.arange(180.0).reshape(9, 4, 5).tolist())})
    with pa.ipc.new_file(str(tmp_path / "x.arrow"), table.schema) as file:
        file.write_table(table)
    assert "give dataset.axes=" in read(tmp_path / "x.arrow").rows_in_doubt


def test_a_process_that_knows_the_type_of_texts_reads_the_same(tmp_path: Path) -> None:
    """Hugging Face's library makes it known when it is imported."""

    class Array2D(pa.ExtensionType):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            name = "datasets.features.features.Array2DExtensionType"
            super().__init__(pa.list_(pa.list_(pa.float32())), name)

        def __arrow_ext_serialize__(self) -> bytes:
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> pa.DataType:
            return cls()

    texts = np.arange(60.0, dtype=np.float32).reshape(4, 3, 5)
    cache(tmp_path / "acts", texts)
    before = read(tmp_path / "acts")
    pa.register_extension_type(Array2D())
    try:
        after = read(tmp_path / "acts")
    finally:
        pa.unregister_extension_type("datasets.features.features.Array2DExtensionType")
    np.testing.assert_array_equal(values(after), values(before))
    assert values(after).shape == (12, 5)
