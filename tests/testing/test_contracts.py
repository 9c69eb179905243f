"""Contract tests of plug-ins: right parts of every kind pass them, and wrong ones do not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sae_cli.core.plugins.loaded import LOADED
from sae_cli.testing import contracts_of
from tests.conftest import SMALL, Command
from tests.forked import Forked, start
from tests.plugins import write_documented

EVERY_KIND = Path(__file__).with_name("every_kind.py")
PAGES = {
    "activation/squared_relu": "name: squared_relu\n",
    "corruption/shift": "name: shift\n",
    "optimizer/signs": "name: signs\n",
    "logger/lines": "lines:\n",
}
KINDS = ("activation", "corruption", "optimizer", "picture", "logger", "format")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder, with a plug-in that has a part of every kind, and its pages."""
    shutil.copy(EVERY_KIND, tmp_path / "kinds.py")
    for name, content in PAGES.items():
        page = tmp_path / "pages" / f"{name}.yaml"
        page.parent.mkdir(parents=True)
        page.write_text(content)
    return tmp_path


def check_contracts(folder: Path, plugin: str, words: tuple[str, ...]) -> None:
    """Check those whose names hold one of the words; for a process of its own."""
    found = contracts_of(folder / plugin, folder / "pages")
    chosen = [one for one in found if any(word in one.name for word in words)]
    assert len(chosen) >= len(words)
    for number, one in enumerate(chosen):
        one.check(folder / str(number))


def in_a_process(folder: Path, plugin: str, *words: str) -> None:
    process = start(check_contracts, folder, plugin, words)
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_does_what_its_kind_does(kind: str, folder: Path) -> None:
    in_a_process(folder, "kinds.py", f"does what a {kind} does")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squared_relu", "shift", "signs"])
def test_a_part_trains_resumes_and_heeds_its_options(name: str, folder: Path) -> None:
    in_a_process(folder, "kinds.py", f"={name} ")


def test_all_of_them_in_one_run(folder: Path, command: Command) -> None:
    given = ("--plugin", "kinds.py", "--config-dir", "pages")
    words = ("activation=squared_relu", "corruption=shift", "optimizer=signs", "logger=lines")
    done = command(*given, "model=ae", *words, *SMALL, "hydra.run.dir=runs/run")
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "run" / "pictures" / "mean_codes.png").is_file()
    lines = (folder / "runs" / "lines.jsonl").read_text().splitlines()
    assert len(lines) > 4 and lines[-1] == '"finished"'
    dictionary = ("model=topk", *SMALL, "pictures=false", "hydra.run.dir=runs/topk")
    assert command(*given, *dictionary).returncode == 0
    # What a run has no part of, it does not ask for.
    assert not (folder / "runs" / "topk" / "plugins").exists()
    export = Forked(folder, "sae_export")
    done_export = export("--plugin", "kinds.py", "runs/topk", "--format", "atoms", "--to", "x")
    assert done_export.code == 0, done_export.err
    assert len((folder / "x" / "atoms.txt").read_text().splitlines()) == 128
    unknown = export("runs/topk", "--format", "atoms", "--to", "y")
    assert unknown.code == 2 and "--format atoms is not a format" in unknown.error


WRONG = {
    "corruption": ("return x + self.std", "return x.add_(1.0) + self.std", "changes its input"),
    "activation": ("name = \"squared_relu\"", "name = \"square\"", "its name is 'square'; set"),
    "optimizer": ("mean.mul_(self.memory).add_(gradient)", "gradient = gradient * 0.0", "nothing"),
    "format": ('{"atoms.txt": ', '{"../atoms.txt": ', "is not the name of a file"),
    "picture": ('Picture("mean_codes"', 'Picture("mean/codes"', "cannot be the name of a file"),
    "logger": ("self._file.open", "self._nothing.open", "lines is off for the rest"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_part_that_does_not_is_found_out(kind: str, folder: Path) -> None:
    right, wrong, says = WRONG[kind]
    text = EVERY_KIND.read_text()
    assert right in text
    (folder / "kinds.py").write_text(text.replace(right, wrong))
    process = start(_is_found_out, folder, kind, says)
    process.join()
    assert process.exitcode == 0


def _is_found_out(folder: Path, kind: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_contracts(folder, "kinds.py", (f"does what a {kind} does",))


def test_a_part_without_a_page_is_found_out(folder: Path) -> None:
    (folder / "pages" / "corruption" / "shift.yaml").unlink()
    process = start(_has_no_page, folder)
    process.join()
    assert process.exitcode == 0


def _has_no_page(folder: Path) -> None:
    with pytest.raises(AssertionError, match=r"corruption=shift has no page; write corruption/sh"):
        check_contracts(folder, "kinds.py", ("corruption=shift has a page",))
    assert [*LOADED] == ["kinds"]


@pytest.mark.slow
def test_the_tests_of_the_documented_plugin(tmp_path: Path) -> None:
    """As its author runs them."""
    write_documented(tmp_path)
    words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = subprocess.run(
        [*words, "test_my_parts.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "19 passed" in done.stdout
