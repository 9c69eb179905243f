"""Texts in files from a stranger that would command the terminal, or forge a line."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import CHECKOUT
from tests.faults.runs import LAST, PREVIOUS, WORDS, rewrite, saved_state
from tests.forked import Done, Forked

# A new title, a cleared screen, the line that ends a reproduction, letters from right to left.
TEXT = "\x1b]0;title\x07\x1b[2J\nidentical: run and again\r\x9b2J\u202e"
SHOWN = r"\x1b]0;title\x07\x1b[2J\nidentical: run and again\r\x9b2J\u202e"
# These may print by themselves: the page and YAML are text of many lines, escaped as they are made.
PRINTING = {"core/text.py", "commands/exits.py", "commands/report.py", "commands/show.py"}
PRINTING |= {"commands/launch.py", "commands/runs.py", "config/hydra_shows.py"}
PRINTING |= {"runs/sweeps/groups.py", "runs/sweeps/jobs.py", "runs/sweeps/queue.py"}


def check_harmless(text: str) -> None:
    assert not re.search(r"[^\x20-\x7e\n]", text)
    assert "identical: run and again" not in text.splitlines()


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def forge(record: dict[str, Any]) -> None:
    record["hardware"]["processor"] = TEXT
    record[TEXT] = TEXT


def ended(done: Done, code: int) -> str:
    assert done.code == code, done.err
    check_harmless(done.out + done.err)
    assert SHOWN in done.out + done.err
    return done.out


def test_the_record_of_a_stranger(stopped: Path, whole: Path, tmp_path: Path) -> None:
    """It is shown by every command that compares the machine with that of the run."""
    shutil.copytree(whole, tmp_path / "whole")
    for run in (stopped, tmp_path / "whole"):
        edit(run / "environment.json", forge)
    reproduce = Forked(tmp_path, "sae_reproduce")
    ended(reproduce("--check", "whole"), 1)
    out = ended(reproduce("whole", "--into", "again"), 0)
    assert out.splitlines()[-1] == "identical: whole and again"
    ended(Forked(tmp_path)("resume=run"), 0)
    check_harmless((stopped / "train.log").read_text())


def test_the_configuration_of_a_stranger(stopped: Path, tmp_path: Path, forked: Forked) -> None:
    """Its names are in the log, and in the error when it does not fit the checkpoint."""
    config = yaml.safe_load((stopped / "config.yaml").read_text())
    (stopped / "config.yaml").write_text(yaml.safe_dump(config | {"experiment": TEXT}))
    ended(forked("resume=run"), 6)
    for name in (LAST, PREVIOUS):
        rewrite(stopped / name, config=saved_state(stopped / name).config | {"experiment": TEXT})
    (stopped / "config.yaml").write_text(
        yaml.safe_dump(config | {"experiment": TEXT, "model": TEXT})
    )
    ended(forked("resume=run", "--traceback"), 6)


def test_the_sweep_of_a_stranger(tmp_path: Path, forked: Forked) -> None:
    words = ("-m", *WORDS, "seed=0,1", "epochs=1", "hydra.sweep.dir=sweep")
    assert forked(*words).code == 0
    page = yaml.safe_load((tmp_path / "sweep" / "sweep.yaml").read_text())
    for job in page["jobs"]:
        job["overrides"].append(f"model={TEXT}")
        job["config"]["epochs"] = 1 if job is page["jobs"][0] else 0
    (tmp_path / "sweep" / "sweep.yaml").write_text(yaml.safe_dump(page))
    done = forked("resume=sweep")
    check_harmless(done.out + done.err)
    page["jobs"][1]["config"]["epochs"] = 1
    (tmp_path / "sweep" / "sweep.yaml").write_text(yaml.safe_dump(page))
    ended(forked("resume=sweep"), 0)


def test_the_folder_of_a_stranger(stopped: Path, tmp_path: Path, forked: Forked) -> None:
    """Names of folders are shown, too."""
    name = TEXT.replace("/", "").strip()
    stopped.rename(tmp_path / name)
    ended(forked(f"resume={name}"), 0)
    ended(Forked(tmp_path, "sae_report")(name, "--into", f"{name}.md"), 0)
    ended(Forked(tmp_path, "sae_reproduce")(name, "--into", f"{name}2"), 0)


def test_the_pages_of_a_stranger(tmp_path: Path, forked: Forked) -> None:
    name = TEXT.replace("/", "").strip()
    (tmp_path / "pages" / "model").mkdir(parents=True)
    (tmp_path / "pages" / "model" / f"{name}.yaml").write_text("# @package _global_\n")
    ended(forked("--config-dir", "pages", "--help", "model"), 0)


@pytest.mark.parametrize("stage", [TEXT, r"$\frac$", 3, None])
def test_the_metrics_of_a_stranger(stage: object, stopped: Path, forked: Forked) -> None:
    """Names of stages come into pictures, so a checkpoint has none but those of the run."""
    lines = [json.loads(line) for line in saved_state(stopped / LAST).metrics.splitlines()]
    text = "".join(json.dumps(line | {"stage": stage}) + "\n" for line in lines)
    rewrite(stopped / LAST, metrics=text)
    done = forked("resume=run", "pictures=true")
    assert done.code == 6
    assert "its lines of metrics are not right" in done.error


def test_only_these_files_print() -> None:
    """All others say a line, which makes it harmless."""
    package = CHECKOUT / "sae_cli"
    found = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Name) and node.id == "print"
    }
    assert found == PRINTING
