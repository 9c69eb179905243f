"""What is said of an array before a training: each fault with its option, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sae_cli.run_folder.files import read_json
from tests.conftest import Command

RNG = np.random.default_rng(0)
QUICK = ("model=sparse_l1", "epochs=1", "batch_size=16", "pictures=false", "progress=false")


def plain() -> NDArray[np.float64]:
    return RNG.normal(size=(200, 8))


def far() -> NDArray[np.float64]:
    """Its mean is 4 times the spread."""
    return plain() + 4.0


def large() -> NDArray[np.float64]:
    return plain() * 50.0


def outlying() -> NDArray[np.float64]:
    x = plain()
    x[:, 3] *= 40.0
    return x / 14.0


def repeated() -> NDArray[np.float64]:
    x = plain()
    x[:40] = x[40]
    return x


def padded() -> NDArray[np.float64]:
    x = plain()
    x[1:20:2] = 0.0
    return x


FAULTS = {
    "plain": (plain, []),
    "far": (
        far,
        [r"the mean is (3\.9|4|4\.1) times the spread: dataset.centre=mean would rem"],
    ),
    "large": (
        large,
        [r"root mean square of the values is (49|50|51)(\.\d)?: dataset.scale=rms"],
    ),
    "outlying": (outlying, ["feature 3 varies over 10 times as much as the median feature"]),
    "repeated": (repeated, [r"2\d\.\d% of the training rows repeat an earlier one"]),
    "padded": (padded, ["% of the training rows repeat", "% of the training rows hold one value"]),
}


def notes(out: str) -> list[str]:
    """The notes before the first evaluation."""
    before, _, _ = out.partition("epoch 0/1")
    return [line for line in before.splitlines() if line.startswith("note: ")]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_said_with_its_option(fault: str, command: Command, tmp_path: Path) -> None:
    make, patterns = FAULTS[fault]
    np.save(tmp_path / "x.npy", make())
    done = command(*QUICK, "dataset=array", "dataset.path=x.npy", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    found = notes(done.stdout)
    assert len(found) == len(patterns), found
    for line, pattern in zip(found, patterns, strict=True):
        assert re.search(pattern, line), line
    assert "look: 160 training rows of 8 values (stored as float64)" in done.stdout
    assert read_json(tmp_path / "run" / "environment.json")["look"]["rows"] == 160


def test_what_was_mended_is_not_said_again(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", far() * 50.0)
    given = (*QUICK, "dataset=array", "dataset.path=x.npy")
    assert len(notes(command(*given).stdout)) == 2
    how = ("dataset.centre=mean", "dataset.scale=rms")
    assert notes(command(*given, *how).stdout) == []


def test_probabilities_are_not_to_be_moved(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RNG.random((200, 8)) * 0.001)
    given = (*QUICK, "dataset=array", "dataset.path=x.npy")
    assert len(notes(command(*given).stdout)) == 2
    bce = ("reconstruction=bce", "architecture.output_activation=sigmoid")
    assert notes(command(*given, *bce).stdout) == []


def test_images_have_no_look(command: Command, tmp_path: Path) -> None:
    done = command(*QUICK, "hydra.run.dir=run")
    assert "look:" not in done.stdout
    assert "look" not in read_json(tmp_path / "run" / "environment.json")
