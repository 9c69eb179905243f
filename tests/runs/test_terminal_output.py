"""What a person sees at a terminal of 80 columns, and what a log has without one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from functools import partial
from pathlib import Path

import pytest

from sae_cli.core.text import duration
from tests.forked import Forked

COLUMNS = 80
WORDS = ("dataset.test=1500", "pictures=false", "device=cpu", "hydra.run.dir=run")
BAR = re.compile(
    r"(?P<start>.*epoch +\d+/\d+) +(?P<share>\d+)%\|(?P<bar>[^|]*)\| (?P<left>\S+) left.*"
)


@pytest.fixture
def forked(tmp_path: Path) -> Forked:
    return Forked(tmp_path)


def use_terminal(name: str) -> None:
    """Print to the terminal of this name."""
    terminal = os.open(name, os.O_RDWR)
    for number in (1, 2):
        os.dup2(terminal, number)


def seen(forked: Forked, *words: str) -> str:
    """What a command prints at a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    printed = b""
    with forked.start(*words, before=partial(use_terminal, os.ttyname(theirs))) as started:
        printed += os.read(ours, 1 << 16)
        os.close(theirs)
        # The end of a terminal that nobody has open any longer is an error.
        try:
            while more := os.read(ours, 1 << 16):
                printed += more
        except OSError:
            pass
        assert started.wait().code == 0, printed.decode()
    os.close(ours)
    return printed.decode()


def frames(printed: str) -> list[str]:
    return [frame for line in printed.split("\n") for frame in line.split("\r") if "%|" in frame]


def test_the_bar_is_a_bar_with_the_epoch_and_the_time_left(forked: Forked) -> None:
    printed = seen(forked, *WORDS, "epochs=40")
    assert printed.startswith("preparing a run\r\nreading data: dataset=digits model=sparse_kl\r\n")
    found = frames(printed)
    assert found and all(len(frame) <= COLUMNS for frame in found)
    shown = [BAR.fullmatch(frame.rstrip()) for frame in found]
    assert all(shown)
    # The bar itself takes a third of the line at least.
    assert all(len(one["bar"]) >= COLUMNS // 3 for one in shown if one)
    # What is beside it may take a column more or less, so that its fill is no measure.
    shares = [int(one["share"]) for one in shown if one]
    assert shares == sorted(shares)
    assert all(one["start"].endswith("/40") for one in shown if one)
    assert any("loss" in frame for frame in found) or len(found) < 3


def test_a_resumed_bar_begins_where_the_run_resumes(forked: Forked) -> None:
    assert forked(*WORDS, "epochs=30", "progress=false").code == 0
    found = frames(seen(forked, "resume=run", "epochs=60", "progress=true"))
    shares = [int(one["share"]) for frame in found if (one := BAR.fullmatch(frame.rstrip()))]
    assert shares and min(shares) >= 50
    assert found[0].startswith("epoch 31/60")


def test_quiet_prints_the_last_line_alone(forked: Forked, tmp_path: Path) -> None:
    assert seen(forked, *WORDS, "epochs=2", "quiet=true") == "run folder: run\r\n"
    assert "epoch 2/2" in (tmp_path / "run" / "train.log").read_text()


def test_a_quiet_sweep_prints_errors_and_the_last_line(forked: Forked) -> None:
    words = ("-m", "seed=0,1", "epochs=1", "quiet=true", "hydra.sweep.dir=sweep")
    done = forked(*words, *WORDS[:-1])
    assert (done.code, done.err) == (0, "")
    assert done.out == "2 of 2 jobs finished; results: sweep/results.csv\n"
    failing = ("optimizer=sgd", "optimizer.learning_rate=0.001,1e30", "hydra.sweep.dir=other")
    done = forked("-m", "epochs=1", "quiet=true", *failing, *WORDS[:-1])
    assert done.code == 1
    assert done.error.startswith("error in job 1_")
    failed, finished, _ = done.out.splitlines()
    assert failed.startswith("job 1 failed: ")
    assert finished == "1 of 2 jobs finished; results: other/results.csv"


def epochs_of(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"^epoch +(\d+)/\d+  train", text, re.MULTILINE)]


def test_lines_of_metrics_every_so_many_epochs(forked: Forked, tmp_path: Path) -> None:
    done = forked(*WORDS, "epochs=10", "log_every=4")
    assert epochs_of(done.out) == [0, 4, 8, 10]
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 11


def test_lines_within_an_epoch_without_a_terminal(forked: Forked, tmp_path: Path) -> None:
    """97 digits in batches of 10 are ten steps an epoch."""
    done = forked(*WORDS, "epochs=2", "batch_size=10", "log_steps=4")
    found = re.findall(
        r"^epoch (\d)/2  step (\d+)/20  loss [\d.]+  \d+ s left$", done.out, re.MULTILINE
    )
    assert found == [("1", "4"), ("1", "8"), ("2", "12"), ("2", "16"), ("2", "20")]
    assert "step 8/20" in (tmp_path / "run" / "train.log").read_text()


def test_what_is_said_changes_no_bit(forked: Forked, tmp_path: Path) -> None:
    folders = {"one": (), "two": ("quiet=true", "log_every=3", "log_steps=2")}
    for folder, words in folders.items():
        done = forked(*WORDS[:-1], "epochs=2", f"hydra.run.dir={folder}", *words)
        assert done.code == 0, done.err
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_sweep_says_how_far_it_is_with_the_numbers_of_the_folders(
    forked: Forked, tmp_path: Path
) -> None:
    done = forked("-m", "seed=0,1,2", "epochs=1", "hydra.sweep.dir=sweep", *WORDS[:-1])
    folders = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    for number, folder in enumerate(folders):
        assert folder.startswith(f"{number}_seed={number}")
        assert f"\njob {number} (3 in all): seed={number} " in done.out
    standings = [line for line in done.out.splitlines() if " jobs done; " in line]
    # After the first job, and then at most every two seconds.
    both = ["1 of 3 jobs done", "2 of 3 jobs done"]
    assert [line.split(";")[0] for line in standings] in (both[:1], both)
    assert re.search(r"lowest val/fvu so far \d\.\d{4} \(job 0\); about \d+ s left$", standings[0])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.2, "1 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7300, "2 h 2 min")),
        *((86400, "24 h 0 min"), (3 * 86400, "3 d")),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
