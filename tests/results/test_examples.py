"""Examples for loaded runs: the rows of the file that was trained on give the codes of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sae_cli import load_run
from sae_cli.core.shapes import REALS, UNIT, Interval
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.results.examples import Seen, as_seen
from sae_cli.runs.train import train
from tests.conftest import Configure

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
QUICK = ("batch_size=16", "epochs=1", "pictures=false", "progress=false", "dataset=array")


def see(
    x: Any, inputs: Inputs, *, integers: bool | None = True, interval: Interval = UNIT, **how: Any
) -> Seen:
    return as_seen(x, DataRecord(inputs, integers, interval), (3, 6, 5), how.get("as_stored"))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
@pytest.mark.parametrize("unit_norm", [False, True])
@pytest.mark.parametrize("divisor", [1.0, 255.0])
def test_the_rows_of_the_file_give_the_codes_of_the_run(
    configure: Configure, tmp_path: Path, dtype: str, unit_norm: bool, divisor: float
) -> None:
    rows = BYTES.reshape(40, -1).astype(dtype)
    np.save(tmp_path / "x.npy", rows)
    how = (f"dataset.path={tmp_path / 'x.npy'}", f"dataset.divisor={divisor}")
    config = configure("model=sparse_l1", *QUICK, *how, f"unit_norm={unit_norm}")
    summary = train(config, tmp_path / "run", [])
    run = load_run(tmp_path / "run")
    assert run.record.as_dict()["divisor"] == divisor
    if dtype == "float32" and divisor != 1.0 and not unit_norm:
        with pytest.raises(ValueError, match="divided by 255 already, or not; give as_stored"):
            run.encode(rows[-4:])
        codes = run.encode(rows[-4:], as_stored=True)
    else:
        codes = run.encode(rows[-4:])
    assert float(codes.mean()) == pytest.approx(summary["test/mean_activity"], rel=1e-5)
    if not unit_norm:
        divided = run.encode(rows[-4:] / divisor, as_stored=False)
        np.testing.assert_allclose(divided, codes, atol=1e-6)


@pytest.mark.parametrize("axes", ["channels_last", "grey"])
def test_rows_with_axes_of_their_own(configure: Configure, tmp_path: Path, axes: str) -> None:
    rows = BYTES if axes == "channels_last" else BYTES[..., 0]
    np.save(tmp_path / "x.npy", rows)
    how = (f"dataset.path={tmp_path / 'x.npy'}", "dataset.divisor=255", f"dataset.axes={axes}")
    summary = train(configure("model=recurrent", *QUICK, *how), tmp_path / "run", [])
    codes = load_run(tmp_path / "run").encode(rows[-4:])
    assert float(codes.mean()) == pytest.approx(summary["test/mean_activity"], rel=1e-5)


def test_the_shape_tells_where_channels_are() -> None:
    inputs = Inputs("channels_last", 255.0)
    first = BYTES.transpose(0, 3, 1, 2)
    wanted = first.astype(np.float32) / 255
    for given in (BYTES, first, wanted, wanted.transpose(0, 2, 3, 1), first.reshape(40, -1)):
        seen = see(given, inputs)
        np.testing.assert_array_equal(seen.values, wanted)
        assert not seen.doubts
    with pytest.raises(ValueError, match=r"expected \(batch, 3, 6, 5\) or \(batch, 90\)$"):
        see(BYTES, Inputs(None, 255.0))
    with pytest.raises(ValueError, match=r"or \(batch, 6, 5, 3\) or \(batch, 90\)$"):
        see(BYTES.transpose(0, 2, 1, 3), inputs)


def test_channels_that_can_be_first_or_last_are_asked_about() -> None:
    record = DataRecord(Inputs("channels_last"), False, UNIT)
    x = RNG.random((4, 3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="may have channels first or last; give as_stored"):
        as_seen(x, record, (3, 3, 3), None)
    moved = as_seen(x, record, (3, 3, 3), True).values
    np.testing.assert_array_equal(moved, x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(as_seen(x, record, (3, 3, 3), False).values, x)


def test_what_an_earlier_version_did_not_record_is_said() -> None:
    seen = see(BYTES.reshape(40, -1) / 255, Inputs(None, 255.0), integers=None, interval=REALS)
    assert seen.doubts["type"].startswith("x is taken as it is, not divided by 255; give")


def test_what_is_given_stays_as_it_is() -> None:
    x = torch.rand(4, 3, 6, 5)
    before = x.clone()
    see(x, Inputs(None, 255.0), as_stored=True)
    assert torch.equal(x, before)


def test_a_shape_is_said_once() -> None:
    record = DataRecord(Inputs(), False, REALS)
    with pytest.raises(ValueError, match=r"expected \(batch, 64\)$"):
        as_seen(np.zeros((3, 63)), record, (64,), None)
