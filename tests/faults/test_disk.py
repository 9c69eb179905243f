"""Full disks: nothing that was saved is lost, and the run resumes when there is room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sae_cli.run_folder.files import append_line
from tests.faults.causes import limit_files
from tests.faults.disks import mounted
from tests.faults.runs import LAST, PREVIOUS, WORDS, contents, finish_like, saved_state
from tests.forked import Done, Forked
from tests.killing import results

KILOBYTE = 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for a few checkpoints."""
    with mounted(tmp_path / "disk", "size=4m") as folder:
        yield folder


def fill(disk: Path, but: int = 0) -> None:
    """Leave ``but`` bytes of room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        file.write(bytes(max(0, free - but)))


def assert_full(done: Done) -> None:
    assert done.code == 4, done.err
    assert "what was saved before is kept, and the run can be resumed" in done.error


def test_disk_full_at_a_checkpoint(small_disk: Path, whole: Path, forked: Forked) -> None:
    """Three checkpoints find room (last, previous, best), but not a fourth beside them."""
    size = (whole / LAST).stat().st_size
    fill(small_disk, but=round(3.5 * size))
    done = forked(*WORDS, "hydra.run.dir=disk/run")
    assert_full(done)
    run = small_disk / "run"
    assert "No space left on device" in done.error
    assert f"{run / LAST} (" in done.error or f"{run}/checkpoints/best.pt (" in done.error
    step = saved_state(run / LAST).step
    assert saved_state(run / PREVIOUS).step < step
    assert not list(run.rglob("*.tmp"))
    (small_disk / "filler").unlink()
    finish_like(run, whole)


def test_disk_full_when_a_stopped_run_resumes(
    small_disk: Path, stopped: Path, whole: Path, forked: Forked
) -> None:
    run = Path(shutil.copytree(stopped, small_disk / "run"))
    fill(small_disk)
    before = contents(run)
    assert_full(forked("resume=disk/run"))
    assert contents(run) == before
    (small_disk / "filler").unlink()
    finish_like(run, whole)


@pytest.mark.parametrize("room", [0, 2])
def test_disk_full_before_the_training(
    room: int, small_disk: Path, whole: Path, forked: Forked
) -> None:
    """Not even a run's first file finds room: no folder is left that looks like a run."""
    fill(small_disk, but=room * 4 * KILOBYTE)
    done = forked(*WORDS, "hydra.run.dir=disk/run")
    assert_full(done)
    assert str(small_disk) in done.error
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    assert forked(*WORDS, "hydra.run.dir=disk/run").code == 0
    assert results(small_disk / "run") == results(whole)


def test_a_file_may_grow_no_larger(tmp_path: Path, whole: Path, forked: Forked) -> None:
    """Like ``ulimit -f`` and quotas, with a limit below the size of a checkpoint."""
    done = forked(*WORDS, "hydra.run.dir=run", before=limit_files)
    assert_full(done)
    assert "File too large" in done.error
    run = tmp_path / "run"
    assert "OSError" in (run / "train.log").read_text()
    assert not (run / "checkpoints").exists() or not contents(run / "checkpoints")
    finish_like(run, whole)


def test_a_file_may_grow_no_larger_when_a_stopped_run_resumes(
    stopped: Path, whole: Path, forked: Forked
) -> None:
    before = contents(stopped / "checkpoints")
    assert_full(forked("resume=run", before=limit_files))
    assert contents(stopped / "checkpoints") == before
    finish_like(stopped, whole)


def test_a_line_that_finds_no_room_names_its_file() -> None:
    with pytest.raises(OSError, match="/dev/full") as caught:
        append_line(Path("/dev/full"), "a line")
    assert caught.value.filename == "/dev/full"


def test_standard_output_on_a_full_disk(tmp_path: Path, whole: Path, forked: Forked) -> None:
    done = forked(*WORDS, "hydra.run.dir=run", before=print_to_a_full_disk)
    assert (done.code, done.err) == (0, "")
    assert results(tmp_path / "run") == results(whole)
    assert "run folder: run" in (tmp_path / "run" / "train.log").read_text()


def print_to_a_full_disk() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
