"""A tracker as its run sees it: a process that is started, looked at, and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, final

from sae_cli.core.plugins.loaded import plugin_of
from sae_cli.trackers.process import pictures
from sae_cli.trackers.tracker import TRACKERS, About

# What this process can import, its tracker can, too; it does not know this process's __main__.
PROGRAM = (
    "import os, sys; sys.path[:] = sys.argv[1].split(os.pathsep); "
    "from sae_cli.trackers.process import main; main()"
)
POLL_SECONDS = 0.02


@final
class Started:
    """A tracker's process.

    It has a session of its own, so that no signal of a terminal reaches it, and nothing it prints
    is seen.

    Args:
        section: the tracker's name and options.
        about: the run.

    Raises:
        OSError: no further process can be started.
    """

    def __init__(self, section: Mapping[str, Any], about: About) -> None:
        self.name = str(section["name"])
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, os.pathsep.join(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        plugin = plugin_of(TRACKERS.kind, self.name)
        folders = {"folder": str(about.folder), "store": str(about.store)}
        self._tell(
            json.dumps(
                {
                    "section": dict(section),
                    "about": asdict(about) | folders,
                    "seen": pictures(about.folder),
                    "pid": os.getpid(),
                    "plugin": None if plugin is None else plugin.given,
                }
            )
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        # It may have ended, which ``failure`` tells.
        with suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def failure(self) -> str | None:
        """Say why the process has ended, if it has failed."""
        code = self._process.poll()
        if code is None:
            return None
        said = self._close()
        return (said or f"its process ended with {code}") if code else None

    def _close(self) -> str:
        """Close the pipes, and give what the process has said."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        with self._process.stdout as said:
            return said.read(2000).decode(errors="replace")

    def finish(self, status: str) -> None:
        """Have the tracker complete its store.

        Args:
            status: how the run ended.
        """
        self._tell(status)
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self, seconds: float, given_up: Callable[[], bool]) -> bool:
        """Wait for the end of the process; tell whether it has ended.

        Args:
            seconds: to wait at most.
            given_up: tells whether to wait no longer.
        """
        # Waits are counted, because a clock runs on while the machine sleeps.
        for _ in range(round(seconds / POLL_SECONDS)):
            if self._process.poll() is not None:
                return True
            if given_up():
                break
            time.sleep(POLL_SECONDS)
        return False

    def end(self, seconds: float, given_up: Callable[[], bool]) -> str | None:
        """Wait as ``wait`` does, and kill what has not ended then.

        Returns:
            what went wrong, if anything.
        """
        if self.wait(seconds, given_up):
            return self.failure()
        self.kill()
        return "it was not waited for" if given_up() else f"it had not ended after {seconds:g} s"

    def kill(self) -> None:
        """End the process, and those that it has started in its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()
