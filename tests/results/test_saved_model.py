"""The auto-encoder of a run folder: bit for bit what was saved, and sizes before memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from sae_cli.assembly.network import build_network, build_network_parts
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, DataShape, Interval
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.results.saved_model import read_model
from sae_cli.run_folder.folder import RunFolder
from tests.conftest import Configure

SHAPE = DataShape((1, 2, 3), None)
TIED = ("model=tied", "architecture.unit_norm_decoder=true")
RECORD = DataRecord(Inputs("grey", 255.0), True, Interval(0.0, 1.0)).as_dict()
WRONG = [
    *(("divisor", wrong) for wrong in (0.0, -1.0, None, True, "1", float("inf"))),
    *(("axes", wrong) for wrong in ("last", 1)),
    *(("integers", wrong) for wrong in (None, 1)),
    *(("low", wrong) for wrong in ("x", float("nan"))),
    ("more", 1),
]
DEEP = ("model=stacked", "architecture.unit_norm_decoder=true", "architecture.n_latents=4")


def saved(folder: Path, config: RunConfig) -> dict[str, torch.Tensor]:
    """The tensors of an initial auto-encoder, saved as a run does."""
    model = build_network(config, build_network_parts(config), SHAPE).saved
    RunFolder(folder).save_model(model.state_dict(), SHAPE)
    return model.state_dict()


@pytest.mark.parametrize("overrides", [("model=ae",), TIED, DEEP])
def test_what_was_saved_comes_back(
    tmp_path: Path, configure: Configure, overrides: tuple[str, ...]
) -> None:
    config = configure(*overrides)
    before = saved(tmp_path, config)
    loaded, shape, record = read_model(tmp_path, config)
    model = loaded.autoencoder
    assert shape == SHAPE
    assert record is None
    assert not model.training
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    tensors = [*model.parameters(), *model.buffers()]
    assert not any(tensor.is_meta for tensor in tensors)
    assert all(parameter.requires_grad for parameter in model.parameters())
    first = build_network(config, build_network_parts(config), SHAPE).autoencoder
    x = torch.rand(5, *SHAPE.input_shape)
    assert torch.equal(model(x).x_hat, first(x).x_hat)
    model(x).x_hat.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_how_the_data_were_made_comes_back(tmp_path: Path, configure: Configure) -> None:
    config = configure("model=ae")
    model = build_network(config, build_network_parts(config), SHAPE).saved
    for record in (
        DataRecord(Inputs("channels_last", 3.0, True), False, Interval(-1.5, 2.5)),
        DataRecord(Inputs(), True, REALS),
    ):
        RunFolder(tmp_path).save_model(model.state_dict(), SHAPE, record.as_dict())
        assert read_model(tmp_path, config).record == record


def test_a_loaded_model_does_not_lie_in_its_file(tmp_path: Path, configure: Configure) -> None:
    config = configure("architecture.n_latents=64")
    before = saved(tmp_path, config)
    loaded = read_model(tmp_path, config)
    file = tmp_path / "model.safetensors"
    with file.open("r+b") as opened:
        opened.seek(-1000, 2)
        opened.write(bytes(1000))
    after = loaded.network.saved.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path, configure: Configure) -> None:
    config = configure("architecture.n_latents=64")
    tensors = saved(tmp_path, config)
    names = list(tensors)
    tensors[names[0]] = tensors[names[0]].double()
    tensors["new\x1b"] = tensors.pop(names[1])
    RunFolder(tmp_path).save_model(tensors, SHAPE)
    with pytest.raises(ConfigError) as caught:
        read_model(tmp_path, config)
    for part in (
        rf"{names[0]} is F64 (64, 6), expected F32 (64, 6)",
        rf"{names[1]} is absent, expected F32 (64,)",
        r"new\x1b is F32 (64,), expected absent",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "architecture",
    [
        {"n_latents": 10**9},
        {"hidden_sizes": [10**9] * 2},
        {"hidden_sizes": [10] * 1000},
        {"n_latents": None, "expansion_factor": 1e8},
        {"n_latents": None, "expansion_factor": 1e308},
    ],
)
def test_sizes_are_compared_before_memory_is_taken(
    tmp_path: Path, configure: Configure, architecture: dict[str, Any]
) -> None:
    config = configure("architecture.n_latents=64")
    saved(tmp_path, config)
    config.parts["architecture"].update(architecture)
    with pytest.raises(ConfigError, match=r"does not fit|makes .* latents"):
        read_model(tmp_path, config)


@pytest.mark.parametrize("size", [2**30 + 1, 10**30, 0, -1, True])
def test_sizes_that_nothing_has_are_refused(configure: Configure, size: int) -> None:
    with pytest.raises(ConfigError, match=r"architecture\.n_latents="):
        configure(f"architecture.n_latents={size}")
    with pytest.raises(ConfigError, match=r"architecture\.hidden_sizes"):
        configure(f"architecture.hidden_sizes=[{size}]")


@pytest.mark.parametrize(
    "shape",
    [
        *({"input_shape": s} for s in ([], [0], [-1], [1.5], [True], ["1"], [[6]], [1] * 9, None)),
        *({"input_shape": s} for s in ([2**31], [10**30], [2**20, 2**20], [1] * 10**6)),
        *({"n_classes": n} for n in (0, -1, 1.5, True, "2")),
        {"n_classes": None, "more": 1},
        *({"inputs": RECORD | {k: v}} for k, v in WRONG),
        {"input_shape": [6], "inputs": RECORD | {"axes": "grey"}},
    ],
    ids=lambda shape: str(shape)[:30],
)
def test_shapes_that_no_data_have(
    tmp_path: Path, configure: Configure, shape: dict[str, Any]
) -> None:
    config = configure()
    tensors = saved(tmp_path, config)
    text = json.dumps({"input_shape": [1, 2, 3], "n_classes": None} | shape)
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", {"shape": text})
    tracemalloc.start()
    with pytest.raises(ConfigError, match="damaged or was not saved by sae-train") as caught:
        read_model(tmp_path, config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    assert len(str(caught.value)) < 1000
