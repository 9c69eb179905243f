"""Shared fixtures: configurations composed in this process, and the command in a fresh one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from sae_cli.config.compose import CONF, composed, hydra_ready
from sae_cli.config.schema import RunConfig, check
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import DATASETS

CHECKOUT = Path(__file__).parents[1]

Configure = Callable[..., RunConfig]
Command = Callable[..., subprocess.CompletedProcess[str]]

# A training that takes a blink: 97 digits, 4 steps.
SMALL = ("dataset.test=1500", "epochs=1", "progress=false")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """GPU tests run where a GPU is there and are left out, visibly, where none is."""
    if torch.cuda.is_available():
        return
    gpu = [item for item in items if "gpu" in item.keywords]
    config.hook.pytest_deselected(items=gpu)
    items[:] = [item for item in items if item not in gpu]


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded data of tests stay out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def configure() -> Configure:
    """Overrides to a checked configuration, as the command makes it."""

    def make(*overrides: str) -> RunConfig:
        with hydra_ready():
            return check(composed(overrides)[0])

    return make


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``sae-train`` in a fresh process, in an empty folder."""
    return _command(tmp_path, "sae_train")


@pytest.fixture
def reproducing(tmp_path: Path) -> Command:
    """``sae-reproduce`` in a fresh process, in the same folder."""
    return _command(tmp_path, "sae_reproduce")


@pytest.fixture
def reporting(tmp_path: Path) -> Command:
    """``sae-report`` in a fresh process, in the same folder."""
    return _command(tmp_path, "sae_report")


def _command(folder: Path, name: str) -> Command:
    program = f"from sae_cli.__main__ import {name}; {name}()"

    def run(*arguments: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=cwd,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def fashion_mnist() -> dict[str, torch.Tensor]:
    """Real Fashion-MNIST as bytes, split as the book does; skipped where it is not installed."""
    try:
        page = yaml.safe_load((CONF / "dataset" / "fashion_mnist.yaml").read_text())
        data = DATASETS.build(DATASETS.check(page | {"download": False}))
    except ConfigError as error:
        # The published floors and readers are checked on the real files, which are no part of the
        # project; tests without them read made-up ones in the same formats.
        pytest.skip(f"Fashion-MNIST is not on this machine: {error}")
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {name: split.stored[split.rows] for name, split in splits.items()}
