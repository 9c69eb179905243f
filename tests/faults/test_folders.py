"""Run folders: in the way, not to be written, in use, finished, or without a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sae_cli.run_folder.lock import lock
from tests.conftest import slow
from tests.faults.runs import WORDS, config_of, contents, finish_like, stop
from tests.forked import Forked
from tests.killing import start


def test_a_file_in_the_way(tmp_path: Path, forked: Forked) -> None:
    (tmp_path / "notes").write_text("mine")
    for folder in ("notes", "notes/run", "notes/deeper/run"):
        done = forked(*WORDS, f"hydra.run.dir={folder}")
        assert done.code == 2
        assert "notes" in done.error
    assert contents(tmp_path) == {"notes": b"mine"}


def test_a_folder_of_something_else(tmp_path: Path, forked: Forked) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    done = forked(*WORDS, "hydra.run.dir=mine")
    assert done.code == 2
    assert "mine is not an empty folder; choose another" in done.error
    assert contents(tmp_path) == {"mine/notes": b"mine"}


def test_a_folder_that_cannot_be_written(tmp_path: Path, forked: Forked) -> None:
    """/proc refuses files and folders also to root."""
    assert forked(*WORDS, "hydra.run.dir=/proc/run").code == 2
    done = forked(*WORDS, "hydra.run.dir=/proc/self/run")
    assert done.code == 2
    assert "/proc" in done.error
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        done = forked(*WORDS, "hydra.run.dir=closed")
        assert done.code == 2
        assert "cannot write into" in done.error
        assert forked(*WORDS, "hydra.run.dir=closed/run").code == 2


@pytest.mark.parametrize(
    "name", ["checkpoints", "metrics.jsonl", "train.log", "checkpoints/last.pt"]
)
def test_a_link_in_a_stopped_run(
    name: str, stopped: Path, whole: Path, tmp_path: Path, forked: Forked
) -> None:
    """The run's writes would go where the link leads."""
    outside = (stopped / name).rename(tmp_path / "outside")
    (stopped / name).symlink_to(outside)
    before = contents(tmp_path)
    done = forked("resume=run")
    assert done.code == 2
    assert f"{name} is a link, which no run makes; put the file itself there" in done.error
    assert contents(tmp_path) == before
    (stopped / name).unlink()
    outside.rename(stopped / name)
    finish_like(stopped, whole)


@pytest.mark.parametrize("name", ["train.log", "status.json", ".lock"])
def test_a_link_in_a_folder_to_begin_in(name: str, tmp_path: Path, forked: Forked) -> None:
    """Also one under a name that a run may have left before its training."""
    (tmp_path / "run").mkdir()
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "run" / name).symlink_to(tmp_path / "outside")
    done = forked(*WORDS, "hydra.run.dir=run")
    assert done.code == 2
    assert "link" in done.error
    assert (tmp_path / "outside").read_text() == "mine"


@pytest.mark.parametrize("name", ["metrics.jsonl", "train.log", ".lock"])
def test_a_hard_link_in_a_stopped_run(
    name: str, stopped: Path, whole: Path, tmp_path: Path, forked: Forked
) -> None:
    """A run writes into these files where they are, and so into another's, whose they are too."""
    (stopped / name).unlink(missing_ok=True)
    (tmp_path / "outside").write_text("mine\n")
    os.link(tmp_path / "outside", stopped / name)
    before = contents(tmp_path)
    done = forked("resume=run")
    assert done.code == 2
    assert f"{name} is a " in done.error and "hard link" in done.error
    assert contents(tmp_path) == before
    (stopped / name).unlink()
    finish_like(stopped, whole)


@pytest.mark.parametrize("link", [os.link, *slow([os.symlink])])
@pytest.mark.parametrize("name", ["train.log", *slow([".lock"])])
def test_a_link_in_the_folder_of_a_job(
    name: str, link: Callable[[Path, Path], None], tmp_path: Path, forked: Forked
) -> None:
    """Not even the error of the job is logged through it; the other jobs run."""
    words = ("-m", *WORDS, "epochs=1", "seed=0,1", "hydra.sweep.dir=sweep")
    assert forked(*words).code == 0
    (job,) = (tmp_path / "sweep").glob("1_*")
    shutil.rmtree(job)
    job.mkdir()
    (tmp_path / "outside").write_text("mine\n")
    link(tmp_path / "outside", job / name)
    done = forked(*words)
    assert done.code == 1
    assert "link" in done.error
    assert (tmp_path / "outside").read_text() == "mine\n"
    assert "1 of 2 jobs finished" in done.out


@pytest.mark.parametrize("name", ["train.log", "metrics.jsonl"])
def test_a_pipe_in_a_stopped_run(name: str, stopped: Path, forked: Forked) -> None:
    """Opening one would wait forever for somebody to read it."""
    (stopped / name).unlink()
    os.mkfifo(stopped / name)
    done = forked("resume=run")
    assert done.code == 2
    assert f"{name} is neither a file nor a folder" in done.error


def test_a_pipe_in_a_folder_to_begin_in(tmp_path: Path, forked: Forked) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "train.log")
    assert forked(*WORDS, "hydra.run.dir=run").code == 2


def test_a_folder_in_use(stopped: Path, whole: Path, forked: Forked) -> None:
    before = contents(stopped)
    with lock(stopped):
        for words in (("resume=run",), (*WORDS, "hydra.run.dir=run")):
            done = forked(*words)
            assert done.code == 75
            assert f"run is in use by process {os.getpid()} on " in done.error
            assert "wait for it to end, or stop it" in done.error
        (stopped / ".lock").unlink()
    assert contents(stopped) == before
    finish_like(stopped, whole)


def test_a_lock_that_a_kill_left(whole: Path, tmp_path: Path) -> None:
    process = start(config_of(), tmp_path / "run", "in a write", 8)
    process.join()
    assert process.exitcode == -9
    assert (tmp_path / "run" / ".lock").exists()
    finish_like(tmp_path / "run", whole)
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_finished_run_started_again(whole: Path, forked: Forked) -> None:
    before = contents(whole)
    for words in ((f"resume={whole}",), (*WORDS, f"hydra.run.dir={whole}")):
        done = forked(*words)
        assert (done.code, done.err) == (0, "")
        assert "has finished; nothing to do (epochs=MORE would train on)" in done.out
    assert contents(whole) == before


def test_resuming_a_folder_without_a_run(tmp_path: Path, forked: Forked) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, said in (
        ("empty", "holds no run that has begun"),
        ("file", "no such folder"),
        ("nowhere", "no such folder"),
    ):
        done = forked(f"resume={name}")
        assert done.code == 2
        assert said in done.error
    assert not (tmp_path / "nowhere").exists()
    assert contents(tmp_path) == {"file": b""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seed=1",), "seed: a run is resumed with its own settings"),
        (("optimizer.learning_rate=1",), "only epochs, "),
        (("epochs=2",), "epochs=2: the run has come to epoch 3; give at least that"),
        (("epochs=none",), "epochs"),
        (("-m",), "leave out -m"),
    ],
)
def test_resuming_with_what_may_not_change(
    words: tuple[str, ...], said: str, stopped: Path, whole: Path, forked: Forked
) -> None:
    before = contents(stopped)
    done = forked("resume=run", *words)
    assert done.code == 2
    assert said in done.error
    assert contents(stopped) == before
    finish_like(stopped, whole)


def test_more_epochs_under_a_constant_rate(stopped: Path, whole: Path, tmp_path: Path) -> None:
    """Stopped or finished, a run ends as if it had been as long from the beginning."""
    longer = config_of("epochs=6")
    stop(longer, tmp_path / "longer", 20)
    finish_like(tmp_path / "longer", tmp_path / "longer")
    finish_like(stopped, tmp_path / "longer", epochs=6)
    stop(config_of(), tmp_path / "finished")
    finish_like(tmp_path / "finished", whole)
    finish_like(tmp_path / "finished", tmp_path / "longer", epochs=6)


def test_more_epochs_under_a_rate_that_falls(tmp_path: Path, forked: Forked) -> None:
    stop(config_of("lr_schedule=cosine"), tmp_path / "run")
    before = contents(tmp_path)
    done = forked("resume=run", "epochs=6")
    assert done.code == 2
    assert "epochs=6: lr_schedule=cosine spread the learning rate over 4 epochs" in done.error
    assert contents(tmp_path) == before
