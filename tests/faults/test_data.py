"""Data, devices and side files that have changed when a stopped run resumes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sae_cli.runs.resume import resume
from sae_cli.runs.train import train
from tests.faults.runs import (
    LAST,
    PREVIOUS,
    config_of,
    contents,
    finish_like,
    rewrite,
    saved_state,
    stop,
)
from tests.forked import Forked
from tests.killing import results


@pytest.fixture
def array(tmp_path: Path) -> Path:
    file = tmp_path / "array.npy"
    np.save(file, np.random.default_rng(0).random((160, 12), dtype=np.float32))
    return file


def vanish(file: Path) -> None:
    file.unlink()


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def change(file: Path) -> None:
    """Change one number to another valid one."""
    values = np.load(file)
    values[7, 7] = 1 - values[7, 7]
    np.save(file, values)


def shorten(file: Path) -> None:
    np.save(file, np.load(file)[:100])


@pytest.mark.parametrize("fault", [vanish, truncate, change, shorten])
def test_data_that_changed_after_the_stop(
    fault: Callable[[Path], None], array: Path, tmp_path: Path, forked: Forked
) -> None:
    config = config_of("dataset=array", f"dataset.path={array}", "dataset.test=0.1")
    train(config, tmp_path / "whole", [])
    stop(config, tmp_path / "run")
    good = array.read_bytes()
    fault(array)
    before = contents(tmp_path / "run")
    done = forked("resume=run")
    assert done.code == 2
    assert "array.npy" in done.error
    assert contents(tmp_path / "run") == before
    array.write_bytes(good)
    finish_like(tmp_path / "run", tmp_path / "whole")


def test_data_that_moved(array: Path, tmp_path: Path, forked: Forked) -> None:
    """The same bytes elsewhere are the same data."""
    config = config_of("dataset=array", f"dataset.path={array}", "dataset.test=0.1")
    train(config, tmp_path / "whole", [])
    stop(config, tmp_path / "run")
    array.rename(tmp_path / "moved.npy")
    assert forked("resume=run").code == 2
    done = forked("resume=run", f"dataset.path={tmp_path / 'moved.npy'}")
    assert done.code == 0, done.err
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_run_of_a_gpu_where_there_is_none(stopped: Path, whole: Path, forked: Forked) -> None:
    page = (stopped / "config.yaml").read_text()
    kept = contents(stopped / "checkpoints")
    config = yaml.safe_load(page)
    config["device"]["name"] = "cuda"
    (stopped / "config.yaml").write_text(yaml.safe_dump(config))
    for name in (LAST, PREVIOUS):
        rewrite(stopped / name, config=saved_state(stopped / name).config | config)
    before = contents(stopped)
    done = forked("resume=run")
    assert done.code == 2
    assert "device=cuda: " in done.error
    assert "choose device=cpu or device=auto" in done.error
    assert contents(stopped) == before
    (stopped / "config.yaml").write_text(page)
    for path, content in kept.items():
        (stopped / "checkpoints" / path).write_bytes(content)
    finish_like(stopped, whole)


def tear(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 20)


def add(file: Path) -> None:
    """Add a line of an epoch after the last checkpoint."""
    content = file.read_bytes()
    file.write_bytes(content + content.splitlines()[-1] + b"\n")


def scribble(file: Path) -> None:
    file.write_bytes(b"\xff\x00{")


@pytest.mark.parametrize("fault", [tear, vanish, add, scribble])
def test_metrics_that_are_not_as_they_were(
    fault: Callable[[Path], None], stopped: Path, whole: Path
) -> None:
    """The checkpoint has them, too."""
    fault(stopped / "metrics.jsonl")
    finish_like(stopped, whole)


SIDE_FILES = ("status.json", "environment.json", "overrides.yaml", "train.log")


@pytest.mark.parametrize("fault", [tear, vanish, scribble])
@pytest.mark.parametrize("name", SIDE_FILES)
def test_a_side_file_that_is_damaged(
    name: str, fault: Callable[[Path], None], stopped: Path, whole: Path
) -> None:
    """Records about a run do not affect what it computes."""
    (stopped / "overrides.yaml").write_text("- epochs=4\n- device=cpu\n")
    fault(stopped / name)
    finish_like(stopped, whole)


def test_a_finished_run_without_its_summary(whole: Path, stopped: Path) -> None:
    """The summary is made again."""
    resume(stopped, {})
    tear(stopped / "summary.json")
    finish_like(stopped, whole)
    assert contents(stopped)["summary.json"].endswith(b"}\n")
