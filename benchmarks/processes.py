"""Processes, measured from outside in the same way for every contender.

The process that measures imports only the standard library, because a child's peak memory cannot
read lower than that of the process that started it.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
# sae-train prints `epoch  3/10 ...`, the others a line of JSON.
EPOCH = re.compile(r'^(?:epoch +(\d+)/\d+ |\{"epoch": (\d+),)')
# Compiled programs kept between processes would hide their cost in all rounds but the first.
CACHES = ("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


class FailedError(Exception):
    """A process did not end well."""


@dataclass(frozen=True)
class Outcome:
    """The measurements of a process.

    Attributes:
        seconds: from its start to its exit.
        peak_mib: its peak memory (``ru_maxrss``).
        arrivals: seconds from its start to the line of each epoch; epoch 0 is before the training.
        lines: its standard output.
    """

    seconds: float
    peak_mib: float
    arrivals: dict[int, float]
    lines: list[str]

    @property
    def epoch_seconds(self) -> float:
        """The median time between the lines of consecutive epochs, the first epoch left out."""
        times = [self.arrivals[epoch] for epoch in sorted(self.arrivals) if epoch]
        return median(late - early for early, late in pairwise(times))


def run(
    command: Sequence[str],
    *,
    gpu: bool = False,
    may_fail: bool = False,
    stop_at_epoch: int | None = None,
) -> Outcome:
    """Run a command from the root of the repository, without any program compiled beforehand.

    Args:
        gpu: let it see a GPU.
        may_fail: allow an exit code other than 0.
        stop_at_epoch: kill it when the line of this epoch has come.

    Raises:
        FailedError: the command failed; the text has the end of its standard error.
    """
    arrivals: dict[int, float] = {}
    lines: list[str] = []
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        tempfile.TemporaryDirectory() as caches,
    ):
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(caches, gpu),
            text=True,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                now = time.perf_counter()
                lines.append(line.rstrip("\n"))
                if found := EPOCH.match(line):
                    epoch = int(found[1] or found[2])
                    arrivals[epoch] = now - started
                    if epoch == stop_at_epoch:
                        process.kill()
                        break
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            # wait4 gives the memory, which Popen.wait does not.
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode and not may_fail and stop_at_epoch not in arrivals:
            errors.seek(0)
            raise FailedError(f"{' '.join(command)}\n{errors.read()[-2000:]}")
    return Outcome(seconds, used.ru_maxrss / 1024, arrivals, lines)


def _environment(caches: str, gpu: bool) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in CACHES}
    environment["TORCHINDUCTOR_CACHE_DIR"] = f"{caches}/inductor"
    environment["TRITON_CACHE_DIR"] = f"{caches}/triton"
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment
