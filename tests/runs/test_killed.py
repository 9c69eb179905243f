"""Runs that were killed and resumed equal, to the bit, runs that never were."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from sae_cli.config.schema import RunConfig
from tests.configured import configured
from tests.conftest import Configure, slow
from tests.killing import INSTANTS, finish, kill_at_random, results, start

# The run has 97 digits, 4 steps an epoch, and checkpoints within epochs too.
SMALL = ("dataset.test=1500", "epochs=16", "checkpoint_steps=3", "pictures=false", "device=cpu")
SGD = ("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.learning_rate=0.001")
ADAM = ("optimizer=adam", "lr_schedule=cosine", "lr_schedule.warmup_steps=5")
STACKED = (
    *("model=stacked", "schedule.layer_epochs=[2,3]", "schedule.layer_corruptions=[0.1,0.3]"),
    *("epochs=2", "corruption=masking"),
)
KILLS = 20


@pytest.mark.parametrize("optimizer", [SGD, *slow([ADAM])], ids=["sgd", "adam"])
@pytest.mark.parametrize("model", ["denoising", *slow(["ae", "sparse_kl"])])
def test_killed_at_random_instants(
    model: str, optimizer: tuple[str, ...], configure: Configure, tmp_path: Path
) -> None:
    config = configure(f"model={model}", *SMALL, *optimizer)
    seconds = finish(config, tmp_path / "whole")
    random, kills, runs = Random(0), 0, 0
    while kills < KILLS:
        run = tmp_path / str(runs)
        # Some runs are killed many times, some end before.
        while kills < KILLS and kill_at_random(config, run, random, seconds / 2):
            kills += 1
        finish(config, run)
        assert results(run) == results(tmp_path / "whole")
        runs += 1


@pytest.fixture(scope="module")
def denoised(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    """A run that was never killed."""
    config = configured("model=denoising", *ADAM, *SMALL, "epochs=4")
    folder = tmp_path_factory.mktemp("denoised") / "whole"
    finish(config, folder)
    return config, folder


@pytest.mark.parametrize("count", [1, 3, 6, *slow([2, 5, 7, 8])])
@pytest.mark.parametrize("instant", [name for name in INSTANTS if name != "between stages"])
def test_killed_within(
    instant: str, count: int, denoised: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    config, whole = denoised
    process = start(config, tmp_path / "run", instant, count)
    process.join()
    assert process.exitcode == -9
    finish(config, tmp_path / "run")
    assert results(tmp_path / "run") == results(whole)
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_killed_between_and_within_stages(configure: Configure, tmp_path: Path) -> None:
    """Kills at each boundary and at random leave the checkpoints of all stages in the end."""
    config = configure(*SMALL, *STACKED)
    seconds = finish(config, tmp_path / "whole")
    # A resumed run first saves the stage that it was killed before saving.
    for count in (1, 2, 2):
        process = start(config, tmp_path / "run", "between stages", count)
        process.join()
        assert process.exitcode == -9, count
    random = Random(0)
    for _ in range(5):
        kill_at_random(config, tmp_path / "run", random, seconds)
    finish(config, tmp_path / "run")
    assert results(tmp_path / "run") == results(tmp_path / "whole")
    stages = {"layer_1.pt", "layer_2.pt", "fine_tune.pt"}
    assert stages <= {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
