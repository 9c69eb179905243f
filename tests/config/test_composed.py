"""How folders are named, and what a chosen part has from which page."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from sae_cli.config.compose import compose_run, hydra_ready
from sae_cli.config.composed import Composed
from sae_cli.config.hydra_settings import FOLDERS
from sae_cli.core.errors import ConfigError


@pytest.fixture(scope="module")
def run() -> Composed:
    with hydra_ready():
        return compose_run(["seed=7", "penalty=l1", "penalty.weight=0.3"])


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("mine", "mine"),
        ("${model}/${seed}", "sparse_kl/7"),
        ("${penalty.name}_${penalty.weight}", "l1_0.3"),
        ("${hydra.runtime.choices.dataset}", "digits"),
        ("${hydra:runtime.choices.penalty}-${hydra:job.name}", "l1-sae-train"),
        ("${hydra:runtime.cwd}/x", f"{os.getcwd()}/x"),
        ("${hydra.job.override_dirname}", "penalty.weight=0.3,penalty=l1,seed=7"),
    ],
)
def test_a_folder_is_named_by_the_run(run: Composed, pattern: str, name: str) -> None:
    assert run.folder_name(pattern) == name


def test_a_folder_is_named_by_the_clock(run: Composed) -> None:
    assert run.folder_name("${now:%Y}") in {str(datetime.now().year), str(datetime.now().year - 1)}
    first, second = (run.folder_name(FOLDERS["run"]) for _ in range(2))
    assert first != second
    assert first.startswith("outputs/") and first.endswith("_sparse_kl_digits")


@pytest.mark.parametrize("pattern", ["${nothing}", "${hydra:launcher}", "${hydra.job.nothing}"])
def test_a_folder_is_not_named_by_what_is_not_there(run: Composed, pattern: str) -> None:
    with pytest.raises(ConfigError, match="not found"):
        run.folder_name(pattern)


def test_a_page_refers_to_the_run_it_is_chosen_for(tmp_path: Path) -> None:
    """Not to the settings of a run without its model or the other parts on the command line."""
    folder = tmp_path / "penalty"
    folder.mkdir()
    (folder / "mine.yaml").write_text("name: l1\nweight: ${optimizer.learning_rate}\n")
    words = ["experiment=hands_on_sparse_kl", "penalty=mine"]
    with hydra_ready(tmp_path):
        page, given = compose_run(words), compose_run([*words, "optimizer.learning_rate=0.5"])
    assert page.run["penalty"]["weight"] == page.run["optimizer"]["learning_rate"]
    assert given.run["penalty"]["weight"] == 0.5
    assert (page.choices["penalty"], page.run["penalty"]["name"]) == ("mine", "l1")


def test_parts_that_are_replaced_do_not_mix(tmp_path: Path) -> None:
    """Each has its own page's options, and the values of the command line are its own."""
    with hydra_ready():
        words = ["model=sparse_kl", "penalty=l1", "corruption=masking", "corruption.fraction=0.25"]
        both = compose_run(words).run
        assert both["penalty"] == compose_run(["model=ae", "penalty=l1"]).run["penalty"]
    assert both["corruption"] == {"name": "masking", "fraction": 0.25}
