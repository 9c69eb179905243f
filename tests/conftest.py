"""Shared fixtures: configurations composed in this process, and the commands in forked ones.

What imports torch is imported where it is used: with workers, the process that hands out the tests
reads this file too, and they wait for it.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sae_cli.core.errors import ConfigError
from sae_cli.core.signals import SIGNALS
from tests.forked import Forked, no_fsync

if TYPE_CHECKING:
    import torch

    from sae_cli.config.schema import RunConfig

CHECKOUT = Path(__file__).parents[1]

Configure = Callable[..., "RunConfig"]
Command = Callable[..., subprocess.CompletedProcess[str]]

# A training that takes a blink: 97 digits, 4 steps.
SMALL = ("dataset.test=1500", "epochs=1", "progress=false")


def slow(values: Iterable[Any]) -> list[Any]:
    """Values of a parameter that are left to ``-m slow``."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def fresh_seed() -> int:
    """Another one each time, printed; the environment variable SOAK_SEED gives one again."""
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbits(32))
    print(f"SOAK_SEED={seed}")
    return seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """GPU tests run where a GPU is there and are left out, visibly, where none is."""
    import torch

    if torch.cuda.is_available():
        return
    gpu = [item for item in items if "gpu" in item.keywords]
    config.hook.pytest_deselected(items=gpu)
    items[:] = [item for item in items if item not in gpu]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Files that are named are run in this process: workers take seconds to start."""
    named = [Path(argument.partition("::")[0]) for argument in config.args]
    return 0 if all(path.is_file() for path in named) else None


@pytest.fixture(scope="session", autouse=True)
def environment_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes find this checkout; decoded data stay out of the user's own cache.

    A worker computes on one thread, and so do the processes it starts: there are others.
    """
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(CHECKOUT))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("SAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def signals_as_from_a_terminal() -> Iterator[None]:
    """Processes that tests start are not born with signals ignored.

    In the background SIGINT is, under ``nohup`` SIGHUP. A handler that does nothing protects this
    process as well, and other than that is not inherited.
    """
    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """It takes half of a small training's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", no_fsync)
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread, as each job does that trains beside others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def configure() -> Configure:
    """Makes checked configurations from overrides."""
    from tests.configured import configured

    return configured


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``sae-train`` in a forked process, in an empty folder."""
    return _command(tmp_path, "sae_train")


def fresh_command(folder: Path) -> Command:
    """``sae-train`` in a fresh process, for what depends on how Python starts and ends."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sae_cli", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def reproducing(tmp_path: Path) -> Command:
    """``sae-reproduce`` in a forked process, in the same folder."""
    return _command(tmp_path, "sae_reproduce")


@pytest.fixture
def reporting(tmp_path: Path) -> Command:
    """``sae-report`` in a forked process, in the same folder."""
    return _command(tmp_path, "sae_report")


def _command(folder: Path, name: str) -> Command:
    def run(*arguments: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        done = Forked(cwd, name)(*arguments)
        return subprocess.CompletedProcess([name, *arguments], done.code, done.out, done.err)

    return run


@pytest.fixture(scope="session")
def fashion_mnist() -> dict[str, torch.Tensor]:
    """Real Fashion-MNIST as bytes, split as the book does; skipped where it is not installed."""
    import yaml

    from sae_cli.config.conf_folder import CONF
    from sae_cli.datasets import DATASETS

    try:
        page = yaml.safe_load((CONF / "dataset" / "fashion_mnist.yaml").read_text())
        data = DATASETS.build(DATASETS.check(page | {"download": False}))
    except ConfigError as error:
        # The published floors and readers are checked on the real files, which are no part of the
        # project; tests without them read made-up ones in the same formats.
        pytest.skip(f"Fashion-MNIST is not on this machine: {error}")
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {name: split.tensor[split.rows] for name, split in splits.items()}
