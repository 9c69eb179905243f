"""``sae-export``: what it says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from sae_cli import load_run
from sae_cli.config.schema import RunConfig
from sae_cli.core.shapes import Interval
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.run_folder.folder import RunFolder
from tests.configured import configured
from tests.forked import Forked
from tests.results.interchange.models import MODELS, SHAPE, make_network


def write_run(path: Path, config: RunConfig, *overrides: str, unit_norm: bool = False) -> None:
    """A run folder as a training leaves it."""
    run = RunFolder(path)
    run.write_config(config.as_dict())
    record = DataRecord(Inputs(None, 255.0, unit_norm), True, Interval(0.0, 1.0))
    run.save_model(make_network(*overrides).saved.state_dict(), SHAPE, record.as_dict())


@pytest.fixture
def exporting(tmp_path: Path) -> Forked:
    """``sae-export`` in a folder with a run of TopK, and one of a deep auto-encoder."""
    for name, overrides in {"topk": MODELS["topk"], "deep": ("model=ae",)}.items():
        write_run(tmp_path / name, configured(*overrides), *overrides)
    return Forked(tmp_path, "sae_export")


@pytest.mark.parametrize("name", ["saelens", "dictionary_learning", "safetensors"])
def test_what_it_writes_is_loaded(exporting: Forked, name: str) -> None:
    before = {file: file.read_bytes() for file in (exporting.cwd / "topk").iterdir()}
    done = exporting("topk", "--format", name, "--to", "new/out")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"20 latents of 12 features, {name}: new/out",
        "note: dataset.divisor, centre and scale are part of the weights; give values as the data "
        "file has them",
        "note: an example (1, 3, 4) is given as a row of 12 values",
    ]
    assert load_run(exporting.cwd / "new" / "out").n_latents == 20
    assert {file: file.read_bytes() for file in (exporting.cwd / "topk").iterdir()} == before
    assert not list(exporting.cwd.rglob("*.tmp"))


def test_unit_norm_is_said(exporting: Forked) -> None:
    overrides = (*MODELS["topk"], "unit_norm=true")
    write_run(exporting.cwd / "unit", configured(*overrides), *overrides, unit_norm=True)
    done = exporting("unit", "--format=saelens", "--to=out")
    assert done.code == 0
    assert "note: unit_norm=true cannot be part of the weights; scale each example" in done.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["topk", "--format", "saelens"], "--to is missing; sae-export RUN --format"),
        (["topk", "--to", "out"], "--format is missing"),
        (["topk", "--format", "sae_lens", "--to", "out"], "did you mean saelens?"),
        (["--format", "saelens", "--to", "out"], "the following arguments are required: RUN"),
        (["nowhere", "--format", "saelens", "--to", "out"], "nowhere: no such folder"),
        (["topk", "--format", "saelens", "--to", "deep"], "--to deep is there already"),
        (["topk", "--format", "saelens", "--to", "topk/model.safetensors"], "is there already"),
        (["deep", "--format", "saelens", "--to", "out"], "deep cannot be exported: its encoder"),
        ([".", "--format", "saelens", "--to", "out"], ". holds runs; give one of them, such as "),
        (["topk", "--format", "onnx", "--to", "out"], "pip install 'sae-train[export]'"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(
    exporting: Forked, arguments: list[str], text: str
) -> None:
    done = exporting(*arguments, before=_without_onnx)
    assert done.code == 2
    assert text in done.error
    assert not (exporting.cwd / "out").exists()


def test_the_help_shows_what_is_needed(exporting: Forked) -> None:
    usage = exporting("--help").out.partition("\n\n")[0]
    assert "RUN --format FORMAT --to FOLDER" in usage
    assert usage.count("[") == 4


def test_a_file_in_the_way_of_the_folder(exporting: Forked) -> None:
    (exporting.cwd / "file").write_text("x")
    done = exporting("topk", "--format", "saelens", "--to", "file/out")
    assert done.code == 2
    assert "file/out" in done.error


def test_a_full_disk_leaves_no_folder(exporting: Forked) -> None:
    done = exporting("topk", "--format", "saelens", "--to", "out", before=_full)
    assert done.code == 4
    assert "No space left on device" in done.error
    assert not (exporting.cwd / "out").exists()


def _without_onnx() -> None:
    import sys

    sys.modules["onnx"] = None  # type: ignore[assignment]


def _full() -> None:
    import errno
    import os

    def fsync(file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = fsync  # type: ignore[assignment]
