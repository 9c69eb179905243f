"""Sweeps of which a finished job is damaged, or was resumed by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.file_calls import outcome
from tests.faults.runs import WORDS, contents
from tests.forked import Forked


@pytest.fixture(scope="module")
def sweep_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    words = ("-m", *WORDS, "epochs=1", "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert Forked(folder)(*words).code == 0
    return folder / "sweep"


@pytest.fixture
def sweep(sweep_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sweep_once, tmp_path / "sweep"))


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def forge(file: Path) -> None:
    """Write texts and numbers that no float holds."""
    file.write_text(
        json.dumps(dict.fromkeys(json.loads(file.read_text()), "text") | {"l0": 10**400})
    )


FINISHED = ("summary.json", "status.json", "model.safetensors", "metrics.jsonl")


@pytest.mark.parametrize("damage", [remove, empty, halve])
@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_job_that_is_damaged(
    name: str, damage: Callable[[Path], None], sweep: Path, sweep_once: Path, forked: Forked
) -> None:
    (job,) = sweep.glob("1_*")
    damage(job / name)
    done = forked("resume=sweep")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("has finished") == 2
    assert "3 of 3 jobs finished" in done.out
    assert outcome(sweep) == outcome(sweep_once)


def test_a_summary_that_was_made_up(sweep: Path, forked: Forked) -> None:
    """What is not a number has no rank."""
    (job,) = sweep.glob("1_*")
    forge(job / "summary.json")
    done = forked("resume=sweep")
    assert (done.code, done.err) == (0, "")
    assert (sweep / "results.csv").read_text().splitlines()[-1].startswith('"1_')


def test_a_job_that_is_resumed_by_itself(sweep: Path, sweep_once: Path, forked: Forked) -> None:
    """The table of the sweep has it at once."""
    (job,) = sweep.glob("1_*")
    for file in (job / "summary.json", sweep / "results.csv"):
        file.unlink()
    assert forked(f"resume={job}").code == 0
    assert outcome(sweep) == outcome(sweep_once)


def test_a_job_that_is_extended_by_itself(sweep: Path, tmp_path: Path, forked: Forked) -> None:
    (job,) = sweep.glob("1_*")
    before = contents(sweep)
    done = forked(f"resume={job}", "epochs=3")
    assert done.code == 2
    assert "is a job of the sweep in sweep" in done.error
    assert contents(sweep) == before
    shutil.copytree(job, tmp_path / "copy")
    assert forked("resume=copy", "epochs=3").code == 0
