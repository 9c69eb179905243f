"""A job of a sweep in the process that a queue has started for it, through submitit.

A job that is stopped before its end is queued again, and resumes from its checkpoint.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from sae_cli.core.plugins.loaded import Plugin
from sae_cli.core.signals import handle_signals
from sae_cli.run_folder.layout import status_of
from sae_cli.runs.sweeps.job_process import run_apart
from sae_cli.runs.sweeps.squeue import ask_squeue
from sae_cli.runs.sweeps.standing import ENDED
from sae_cli.runs.sweeps.sweep import Sweep

# These end a job for good, unless its cluster lets it run on: whoever cancels it sends SIGTERM.
CANCELLING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@final
@dataclass(frozen=True)
class QueuedJob:
    """What submitit calls for a job, and calls again after the job was queued again.

    Attributes:
        plugins: of the process that runs the sweep.
    """

    sweep: Sweep
    number: int
    plugins: tuple[Plugin, ...] = ()

    def __call__(self) -> None:
        """Run the job, or resume it.

        Raises:
            UncompletedJobError: of submitit, which does not queue it again.
            SystemExit: it was stopped; without this, submitit would take it for done.
        """
        received: list[int] = []
        with handle_signals(lambda number, frame: received.append(number)):
            stopped_by = run_apart(self.sweep, self.number, self.plugins)
        if stopped_by is None and received:
            stopped_by = received[0]
        status = status_of(self._folder)
        if stopped_by is None and status == "interrupted":
            # The child alone was signalled.
            stopped_by = signal.SIGUSR2
        if stopped_by is not None and status not in ENDED:
            _stop_or_queue_again(stopped_by)

    @property
    def _folder(self) -> Path:
        return self.sweep.folders[self.number]

    def checkpoint(self) -> Any:
        """Give what submitit is to call the next time; the job's folder has its checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _stop_or_queue_again(number: int) -> None:
    from submitit import JobEnvironment

    environment = JobEnvironment()
    if number in CANCELLING and not (environment.cluster == "slurm" and _is_to_run(environment)):
        sys.exit(128 + number)
    # This process has submitit's own handler again, which queues the job and ends the process.
    signal.raise_signal(signal.Signals[f"SIG{environment.USR_SIG}"])


def _is_to_run(environment: Any) -> bool:
    """Whether Slurm has this job running: not where it was cancelled, or is queued again by
    Slurm itself."""
    try:
        said = ask_squeue("--noheader", f"--jobs={environment.job_id}", "--format=%T")
    except (OSError, subprocess.SubprocessError):
        return False
    return said.strip() == "RUNNING"
