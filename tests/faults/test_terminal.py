"""A terminal that is closed while a run prints to it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

from tests.faults.runs import LAST, WORDS, saved_state, status


def have_terminal() -> None:
    """Make the terminal on standard input this session's, which then hears of its closing."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """The system sends SIGHUP, and every letter printed from then on is an error."""
    longer = (*WORDS, "epochs=3000", "progress=true", "checkpoint_steps=null")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sae_cli", *longer, "hydra.run.dir=run"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=have_terminal,
    )
    os.close(theirs)
    printed = b""
    while b"epoch    3/3000" not in printed:
        printed += os.read(ours, 1000)
    os.close(ours)
    assert process.wait() == 128 + signal.SIGHUP
    assert status(tmp_path / "run") == "interrupted"
    assert saved_state(tmp_path / "run" / LAST).step > 0
