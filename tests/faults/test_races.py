"""Runs that begin at one instant, and clocks that go back."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from sae_cli.config import compose, folder_names
from sae_cli.config.hydra_settings import FOLDERS
from sae_cli.runs.train import train
from tests.conftest import slow
from tests.faults.claims import race
from tests.faults.runs import WORDS, config_of
from tests.killing import results, start

RACERS = [20, *slow([100])]


@pytest.mark.parametrize("racers", RACERS)
def test_a_hundred_runs_at_once(racers: int, tmp_path: Path) -> None:
    found = race(tmp_path / "outputs", None, racers)
    # Names have 32 random bits: two that are alike are one chance in a million.
    assert len({folder for said, folder in found if said == "won"}) >= racers - 1


@pytest.mark.parametrize("racers", RACERS)
def test_a_hundred_runs_for_one_folder(racers: int, tmp_path: Path) -> None:
    found = [said for said, _ in race(tmp_path, "run", racers)]
    assert found.count("won") == 1
    assert found.count("InUseError") == racers - 1


def test_two_processes_for_one_stopped_run(stopped: Path, whole: Path, tmp_path: Path) -> None:
    """One resumes it; the other is refused, or comes later and has nothing to do."""
    processes = [start(config_of(), stopped) for _ in range(2)]
    for process in processes:
        process.join()
    assert 0 in {process.exitcode for process in processes}
    assert {process.exitcode for process in processes} <= {0, 1}
    assert results(stopped) == results(whole)


@pytest.mark.slow
def test_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that seem to begin at one instant, or in the past, have their own folders."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(1970, 1, 1, tzinfo=tz)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folder_names, "datetime", Clock)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    folders = []
    for _ in range(2):
        with compose.hydra_ready():
            folders.append(Path(compose.compose_run(WORDS).folder_name(FOLDERS["run"])))
        train(config_of(), folders[-1].absolute(), [])
        assert folders[-1].name.startswith("1970-01-01_00-00-00_")
    assert folders[0] != folders[1]
    assert results(folders[0]) == results(folders[1])
