"""n_latents and expansion_factor: whoever gives one takes back the other of a page below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sae_cli.config.asked import read
from sae_cli.config.conf_folder import CONF
from sae_cli.config.schema import check
from sae_cli.results.saved_config import read_config
from tests.conftest import Command

QUICK = ("epochs=1", "pictures=false", "progress=false")


def _widths(*words: str, multirun: bool = False, pages: Path | None = None) -> list[Any]:
    runs = read(words, multirun=multirun, pages=pages).runs
    sections = [check(run.run).parts["architecture"] for run in runs]
    return [(section["n_latents"], section["expansion_factor"]) for section in sections]


def test_the_command_line_takes_back_what_a_page_gives() -> None:
    assert _widths("model=ae", "architecture.expansion_factor=4") == [(None, 4.0)]
    assert _widths("model=sparse_kl", "architecture.n_latents=9") == [(9, None)]
    assert _widths("model=psd", "architecture.n_latents=9") == [(9, None)]
    assert _widths("model=ae", "architecture=dictionary", "architecture.n_latents=9") == [(9, None)]
    assert _widths("experiment=hands_on_sparse_kl", "architecture.expansion_factor=2") == [
        (None, 2.0)
    ]


def test_null_takes_nothing_back() -> None:
    assert _widths("model=ae", "architecture.expansion_factor=null") == [(16, None)]
    assert _widths("model=ae", "architecture.n_latents=null") == [(None, None)]


def test_both_stay_as_they_are_given() -> None:
    given = ("architecture.n_latents=9", "architecture.expansion_factor=2")
    assert _widths("model=ae", *given) == [(9, 2.0)]


def test_sweeps() -> None:
    swept = _widths("model=ae", "architecture.expansion_factor=1,2", multirun=True)
    assert swept == [(None, 1.0), (None, 2.0)]
    assert _widths("model=ae,sparse_l1", "architecture.n_latents=9", multirun=True) == [
        (9, None),
        (9, None),
    ]


def test_a_page_takes_back_what_pages_below_it_give(tmp_path: Path) -> None:
    for name, page in {
        "model/wide.yaml": "# @package _global_\ndefaults: [ae, _self_]\n"
        "architecture: {expansion_factor: 4.0}\n",
        "model/fixed.yaml": "# @package _global_\ndefaults: [sparse_kl, _self_]\n"
        "architecture: {n_latents: 9}\n",
        "model/maps.yaml": "# @package _global_\ndefaults: [conv, _self_]\n"
        "architecture: {n_latents: 9}\n",
        "model/both.yaml": "# @package _global_\ndefaults: [ae, _self_]\n"
        "architecture: {n_latents: 9, expansion_factor: 4.0}\n",
        "architecture/twice.yaml": "defaults: [dense]\nexpansion_factor: 2.0\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(page)
    assert _widths("model=wide", pages=tmp_path) == [(None, 4.0)]
    assert _widths("model=fixed", pages=tmp_path) == [(9, None)]
    assert _widths("model=both", pages=tmp_path) == [(9, 4.0)]
    assert _widths("model=fixed", "architecture.expansion_factor=3", pages=tmp_path) == [
        (None, 3.0)
    ]
    assert _widths("model=linear", "architecture=twice", pages=tmp_path) == [(None, 2.0)]
    # An architecture without a factor gets none.
    (maps,) = read(["model=maps"], multirun=False, pages=tmp_path).runs
    assert maps.run["architecture"]["n_latents"] == 9
    assert "expansion_factor" not in maps.run["architecture"]


@pytest.mark.parametrize("model", ["sparse_kl", "sparse_l1", "sparse_coding", "lista", "drsae"])
def test_sparse_pages_follow_the_data(model: str) -> None:
    assert (CONF / "model" / f"{model}.yaml").is_file()
    assert _widths(f"model={model}") == [(None, 1.0)]


def test_such_a_run_is_resumed_and_reproduced(
    command: Command, reproducing: Command, tmp_path: Path
) -> None:
    words = ("model=linear", "architecture.expansion_factor=0.5", *QUICK, "hydra.run.dir=run")
    assert command(*words).returncode == 0
    section = read_config(tmp_path / "run" / "config.yaml").parts["architecture"]
    assert (section["n_latents"], section["expansion_factor"]) == (None, 0.5)
    assert "nothing to do" in command(*words).stdout
    assert "nothing to do" in command("resume=run").stdout
    again = reproducing("run", "--into", "again")
    assert again.returncode == 0, again.stdout + again.stderr
