"""Fixtures: a run that was never stopped, one that was, and the command in forked processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sae_cli.config.schema import RunConfig
from sae_cli.runs.train import train
from tests.faults.launched import WORDS
from tests.faults.runs import config_of, stop
from tests.forked import Forked


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return config_of()


@pytest.fixture(scope="session")
def whole(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never stopped; tests must not write to it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config, folder, [])
    return folder


@pytest.fixture(scope="session")
def stopped_once(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped") / "run"
    stop(config, folder)
    return folder


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """The folder of a run of the same configuration that a signal stopped, a copy for each test."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


@pytest.fixture
def forked(tmp_path: Path) -> Forked:
    """The command in an empty folder."""
    return Forked(tmp_path)


@pytest.fixture(scope="session")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of some jobs that was never stopped, without a launcher."""
    folder = tmp_path_factory.mktemp("one_by_one")
    assert Forked(folder)(*WORDS).code == 0
    return folder / "sweep"
