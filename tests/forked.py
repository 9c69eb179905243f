"""Functions and commands in processes forked from one that has imported everything: real exit
codes and real output, without the seconds that the imports take.

A process has the environment variables and the working folder of the test that starts it, whatever
the server had when it was started, and its signals are as a terminal leaves them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sae_cli import __main__ as commands
from sae_cli.core.signals import SIGNALS

PRELOAD = "tests.preload"
CONTEXT: Any = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([PRELOAD])

Before = Callable[[], None]
T = TypeVar("T")


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Call a function of a module in a process of its own."""
    process: BaseProcess = CONTEXT.Process(
        target=_call, args=(dict(os.environ), Path.cwd(), function, arguments)
    )
    process.start()
    return process


def no_fsync(file: object) -> None:
    """Not wait for the disk: no test cuts the power, and the system knows what was written."""


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code (-n when signal n killed it) and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on the standard error."""
        (line,) = self.err.splitlines()
        return line


@dataclass(frozen=True)
class Started:
    """A command at work.

    Attributes:
        printed: holds the files ``out`` and ``err``.
    """

    process: BaseProcess
    printed: Path

    def until(self, find: Callable[[], T | None]) -> T:
        """Wait until something is found, for as long as that takes, and return it."""
        while not (found := find()):
            assert self.process.is_alive(), (self.printed / "err").read_text()
            self.process.join(0.02)
        return found

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self) -> Done:
        """Wait for its end."""
        self.process.join()
        assert self.process.exitcode is not None
        out, err = ((self.printed / name).read_text() for name in ("out", "err"))
        return Done(self.process.exitcode, out, err)


@dataclass(frozen=True)
class Forked:
    """Starts a command.

    Args:
        cwd: the folder to start it in.
        name: of its function in ``sae_cli.__main__``.
    """

    cwd: Path
    name: str = "sae_train"

    def __call__(self, *arguments: str, before: Before | None = None) -> Done:
        """Run it to its end.

        Args:
            before: called in its process before it begins; a function of a module.
        """
        with self.start(*arguments, before=before) as started:
            return started.wait()

    @contextmanager
    def start(self, *arguments: str, before: Before | None = None) -> Iterator[Started]:
        """Start it; it is killed at the end of the block, if it is still there."""
        with TemporaryDirectory() as printed:
            process = start(_command, self.name, arguments, self.cwd, before, Path(printed))
            try:
                yield Started(process, Path(printed))
            finally:
                process.kill()
                process.join()


def _call(
    environment: dict[str, str],
    folder: Path,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    # The server says nothing when it cannot import it.
    assert PRELOAD in sys.modules, f"the fork server could not import {PRELOAD}"
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    function(*arguments)


def _command(
    name: str, arguments: tuple[str, ...], cwd: Path, before: Before | None, printed: Path
) -> None:
    os.chdir(cwd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in ((1, "out"), (2, "err")):
        os.dup2(os.open(printed / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if before is not None:
        before()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = [name.replace("_", "-"), *arguments]
    sys.orig_argv = [sys.executable, *sys.argv]
    getattr(commands, name)()
