"""Every command on the folder of a run of which one file is damaged, whichever and however."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from sae_cli.commands import train as command
from sae_cli.run_folder import files
from sae_cli.run_folder.files import write_atomically
from tests.conftest import slow
from tests.faults.damages import (
    COMMANDS,
    DAMAGES,
    FILES,
    LOG,
    MODEL,
    SUMMARY,
    Damage,
    code_of_finished,
    code_of_stopped,
    without_privileges,
)
from tests.faults.runs import contents
from tests.killing import results

LONGEST_SECONDS = 60
NAMES = ["metrics.jsonl", "summary.json", *slow(sorted({*FILES} - {"metrics.jsonl", SUMMARY}))]


def tried(act: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> int:
    """Give the exit code of a command that must end, and say its error in one line."""

    def hang(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LONGEST_SECONDS)
    try:
        with without_privileges():
            code = act()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    said = capsys.readouterr()
    # A table that goes into a pipe is all that is there, so the page is named beside it.
    errors = [line for line in said.err.splitlines() if not line.startswith("page: ")]
    assert len(errors) == (1 if code == 2 and act is not COMMANDS["load"] else 0)
    return code


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "word",
    [
        *("resume", "check", "report", "load", "list"),
        *slow(["again", "reproduce", "evaluate", "show", "compare"]),
    ],
)
def test_a_finished_run_with_a_damaged_file(
    word: str,
    name: str,
    damage: Damage,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    damage(run / name, tmp_path / "outside")
    code = tried(COMMANDS[word], capsys)
    assert code == code_of_finished(word, name, damage)
    if code == 0 and word in ("resume", "again"):
        assert results(run) == results(whole)
    if word == "reproduce":
        # What is compared is read before anything is trained.
        assert (tmp_path / "again").exists() == (code == 0)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize(
    "name", [LOG, *slow([one for one in FILES if one not in (LOG, SUMMARY, MODEL)])]
)
def test_a_stopped_run_with_a_damaged_file(
    name: str,
    damage: Damage,
    stopped: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    damage(stopped / name, tmp_path / "outside")
    code = tried(COMMANDS["resume"], capsys)
    assert code == code_of_stopped(name, damage)
    if code == 0:
        assert results(stopped) == results(whole)


def test_a_finished_run_that_cannot_be_written(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has finished, on a disk that is read-only or in the folder of somebody else."""
    monkeypatch.chdir(tmp_path)
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    run.chmod(0o500)
    before = contents(run)
    with without_privileges():
        assert command.run(["resume=run"]) == 0
        assert command.run(["resume=run", "epochs=6"]) == 2
    run.chmod(0o700)
    said = capsys.readouterr()
    assert "run has finished; nothing to do" in said.out
    assert "cannot write into" in said.err
    assert contents(run) == before


def test_a_file_system_that_cannot_flush_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = errno.EINVAL

    def sync(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").resolve().is_dir():
            raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "fsync", sync)
    files._say_no_flush.cache_clear()
    for content in (b"1", b"2"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert capsys.readouterr().out.count("cannot flush folders to disk") == 1
    fault = errno.EIO
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_atomically(tmp_path / "file", b"3")
    assert caught.value.filename == str(tmp_path)
