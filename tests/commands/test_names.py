"""Names that look like numbers, and home folders, from the command line to the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sae_cli.results.saved_config import read_config
from tests.conftest import Command

QUICK = ("epochs=1", "pictures=false", "progress=false")
ARRAY = ("model=ae", "dataset=array", "batch_size=8", *QUICK)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder beside the working one, with an array of two keys in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    x = np.random.default_rng(0).normal(size=(100, 8)).astype("f4")
    arrays: dict[str, Any] = {"0": x, "1e3": 3 * x}
    np.savez(folder / "x.npz", **arrays)
    np.save(folder / "labels.npy", np.arange(100) % 2)
    return folder


def test_a_home_folder_is_opened_in_every_path(
    command: Command, reproducing: Command, reporting: Command, home: Path, tmp_path: Path
) -> None:
    page = home / "pages" / "optimizer" / "slow.yaml"
    page.parent.mkdir(parents=True)
    page.write_text("defaults: [sgd]\nlearning_rate: 0.001\n")
    data = ("dataset.path=~/x.npz", "dataset.key=0", "dataset.labels=~/labels.npy")
    done = command(
        *(*ARRAY, *data, "hydra.run.dir=~/run", "--config-dir", "~/pages", "optimizer=slow")
    )
    assert done.returncode == 0, done.stderr
    assert read_config(home / "run" / "config.yaml").parts["dataset"]["path"] == str(home / "x.npz")
    assert "has finished" in command("resume=~/run").stdout
    quoted = command(*ARRAY, *data, 'hydra.run.dir="~/quoted"')
    assert quoted.returncode == 0, quoted.stderr
    swept = command("-m", *ARRAY, *data[:1], "dataset.key=0,1e3", "hydra.sweep.dir=~/sweep")
    assert swept.returncode == 0, swept.stderr
    again = reproducing("~/run", "--into", "~/again", "dataset.path=~/x.npz", *QUICK[1:])
    assert again.returncode == 0, again.stderr
    assert reporting("~/run", "~/sweep", "--into", "~/page.md").returncode == 0
    assert {"run", "quoted", "sweep", "again", "page.md"} <= {path.name for path in home.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_nobody_has_such_a_home_folder(command: Command, tmp_path: Path) -> None:
    done = command(*QUICK, "hydra.run.dir=~nobody-here/x")
    assert done.returncode == 2
    assert "~nobody-here is not the home folder of anybody here; give the whole path" in done.stderr
    assert not list(tmp_path.iterdir())


def test_names_that_look_like_numbers(
    command: Command, reproducing: Command, home: Path, tmp_path: Path
) -> None:
    (home / "x.npz").rename(tmp_path / "2024.npz")
    for key, folder in (("0", "1.50"), ("1e3", "2024_11_05"), ("1e3", "true")):
        words = ("dataset.path=2024.npz", f"dataset.key={key}", f"hydra.run.dir={folder}")
        done = command(*ARRAY, *words)
        assert done.returncode == 0, done.stderr
        assert f"2024.npz[{key}]" in done.stdout
        assert read_config(tmp_path / folder / "config.yaml").parts["dataset"]["key"] == key
        longer = command(f"resume={folder}", "epochs=2", "progress=false")
        assert longer.returncode == 0, longer.stderr
    again = reproducing("2024_11_05", "--into", "0", "pictures=false")
    assert again.returncode == 0, again.stdout + again.stderr
    assert read_config(tmp_path / "0" / "config.yaml").parts["dataset"]["key"] == "1e3"
    (tmp_path / "2024.npz").rename(tmp_path / "2025")
    moved = reproducing("2024_11_05", "--check", "dataset.path=2025")
    assert "2025 is not a .npy" in moved.stderr or "2025" in moved.stderr


def test_the_jobs_of_a_sweep_have_such_names(command: Command, home: Path, tmp_path: Path) -> None:
    (home / "x.npz").rename(tmp_path / "x.npz")
    words = ("dataset.path=x.npz", "dataset.key=0,1e3", "hydra.sweep.dir=08")
    done = command("-m", *ARRAY, *words)
    assert done.returncode == 0, done.stderr
    jobs = yaml.safe_load((tmp_path / "08" / "sweep.yaml").read_text())["jobs"]
    assert [job["config"]["dataset"]["key"] for job in jobs] == ["0", "1e3"]
    assert "2 of 2 jobs finished" in command("resume=08").stdout
    assert command("-m", *ARRAY, *words).returncode == 0


def test_a_page_whose_name_is_a_number(command: Command, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "optimizer" / "1e3.yaml"
    page.parent.mkdir(parents=True)
    page.write_text("defaults: [sgd]\nlearning_rate: 0.001\n")
    for words in (("optimizer=1e3",), ("-m", "optimizer=adam,1e3")):
        done = command("--config-dir", "pages", "--cfg", "job", "-p", "optimizer", *words)
        assert done.returncode == 0, done.stderr
    done = command("--config-dir", "pages", "--cfg", "job", "-p", "optimizer", "optimizer=1e3")
    assert yaml.safe_load(done.stdout)["name"] == "sgd"


def test_shown_names_are_read_as_the_same(command: Command) -> None:
    words = ("dataset=array", "dataset.path=x", "dataset.key=1e3")
    assert "key: '1e3'" in command("--cfg", "job", *words).stdout


@pytest.mark.parametrize("page", ["path: 2024", "path: 1e3", "path: true", "path: [a]"])
def test_a_page_says_how_to_quote(command: Command, tmp_path: Path, page: str) -> None:
    folder = tmp_path / "pages" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /dataset: array\n  - _self_\ndataset:\n"
        f"  {page}\n"
    )
    done = command("--config-dir", "pages", "experiment=mine", *QUICK)
    assert done.returncode == 2
    assert "must be text; put it in quotes" in done.stderr


def test_a_comma_is_quoted_as_the_message_says(
    command: Command, home: Path, tmp_path: Path
) -> None:
    (home / "x.npz").rename(tmp_path / "a,b.npz")
    done = command(*ARRAY, "dataset.path=a,b.npz", "dataset.key=0")
    assert done.returncode == 2
    (advice,) = [part for part in done.stderr.split("'") if part.startswith('dataset.path="')]
    assert command(*ARRAY, advice, "dataset.key=0").returncode == 0
