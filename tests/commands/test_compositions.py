"""How often Hydra composes: each time takes a tenth of a second before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from sae_cli.commands.train import run
from sae_cli.config.chosen_pages import forget
from tests.conftest import SMALL

QUICK = (*SMALL, "pictures=false")


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The overrides of each composition, in an empty folder."""
    found: list[list[str]] = []
    load = ConfigLoaderImpl.load_configuration

    def counted(self: Any, config_name: Any, overrides: list[str], *more: Any, **named: Any) -> Any:
        found.append(overrides)
        return load(self, config_name, overrides, *more, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    monkeypatch.chdir(tmp_path)
    forget()
    return found


@pytest.mark.parametrize(
    ("words", "times"),
    [
        ("model=ae hydra.run.dir=${model}", 1),
        ("--help", 0),
        ("--cfg job", 1),
        # Once more for the parts' own pages, however many are chosen.
        ("penalty=l1 penalty.weight=0.3", 2),
        ("penalty=l1 corruption=masking reconstruction=mse optimizer=sgd", 2),
        # The jobs share the pages that they choose.
        ("-m seed=0,1,2", 1),
        ("-m seed=0,1,2 model=ae,linear", 2),
        ("-m seed=0,1,2 penalty=l1", 2),
    ],
)
def test_composed_no_more_often_than_there_are_runs(
    words: str, times: int, composed: list[list[str]]
) -> None:
    assert run([*QUICK, *words.split()]) == 0
    assert len(composed) == times


def test_a_launcher_of_hydra_composes_nothing_of_the_runs(composed: list[list[str]]) -> None:
    """But its own settings, when they are checked and when it starts, and each job's number."""
    assert run(["-m", "seed=0,1", "hydra/launcher=basic", *QUICK]) == 0
    runs = [words for words in composed if not any("hydra" in word for word in words)]
    assert len(runs) == 1
    assert len(composed) == 1 + 2 + 2
