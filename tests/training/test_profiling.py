"""The trace of one epoch."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from sae_cli.runs.train import train
from sae_cli.training.profiling import profile_epochs
from tests.conftest import SMALL, Configure


def names(trace: bytes) -> set[str]:
    return {event["name"] for event in json.loads(trace)["traceEvents"]}


def test_the_second_epoch_is_recorded_and_no_other() -> None:
    def epochs() -> Iterator[int]:
        for number, work in enumerate((torch.sin, torch.cos, torch.tan)):
            work(torch.ones(3))
            yield number

    saved: list[bytes] = []
    assert list(profile_epochs(epochs(), 3, saved.append)) == [0, 1, 2]
    (trace,) = saved
    found = names(gzip.decompress(trace))
    assert "aten::cos" in found
    assert not {"aten::sin", "aten::tan"} & found


def test_a_run_leaves_a_trace_of_each_stage(configure: Configure, tmp_path: Path) -> None:
    """The trace has the products of the step, and the weights stay the same to the bit."""
    chosen = ("model=stacked", "schedule.layer_epochs=[1]", "pictures=false", *SMALL)
    train(configure(*chosen), tmp_path / "plain", [])
    train(configure(*chosen, "profile=true"), tmp_path / "run", [])
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("plain", "run")]
    assert weights[0] == weights[1]
    traces = {path.name: path for path in (tmp_path / "run" / "profiles").iterdir()}
    assert {"layer_1.json.gz", "fine_tune.json.gz"} <= set(traces)
    for path in traces.values():
        assert "aten::mm" in names(gzip.decompress(path.read_bytes()))
