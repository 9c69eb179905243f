"""Jobs of a sweep in the process that a queue has started for them, through submitit.

What is stopped before its end is queued again, and resumes from its checkpoints.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any, final

from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.core.plugins.loaded import Plugin
from sae_cli.core.signals import handle_signals
from sae_cli.core.threads import slurm_threads
from sae_cli.run_folder.layout import status_of
from sae_cli.runs.sweeps.job_process import Work, run_apart
from sae_cli.runs.sweeps.squeue import ask_squeue
from sae_cli.runs.sweeps.standing import ENDED
from sae_cli.runs.sweeps.sweep import Sweep

# These end a job for good, unless its cluster lets it run on: whoever cancels it sends SIGTERM.
CANCELLING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@final
@dataclass(frozen=True)
class QueuedJob:
    """What submitit calls for a job or a group, and calls again after it was queued again.

    Attributes:
        group: the numbers of its jobs.
        work: runs them.
        plugins: of the process that runs the sweep.
    """

    sweep: Sweep
    group: list[int]
    work: Work
    plugins: tuple[Plugin, ...] = ()

    def __call__(self) -> None:
        """Run the jobs, or resume those that have not ended.

        Raises:
            UncompletedJobError: of submitit, which does not queue it again.
            SystemExit: it was stopped; without this, submitit would take it for done.
        """
        received: list[int] = []
        with handle_signals(lambda number, frame: received.append(number)):
            stopped_by = run_apart(self._sweep, self.group, self.work, self.plugins)
        if stopped_by is None and received:
            stopped_by = received[0]
        statuses = {status_of(self.sweep.folders[number]) for number in self.group}
        if stopped_by is None and "interrupted" in statuses:
            # The child alone was signalled.
            stopped_by = signal.SIGUSR2
        if stopped_by is not None and not statuses <= {*ENDED}:
            _stop_or_queue_again(stopped_by)

    @property
    def _sweep(self) -> Sweep:
        """The sweep, with the threads of this process if each job takes its own."""
        threads = slurm_threads() if self.sweep.threads is None else None
        if threads is None:
            return self.sweep
        return replace(self.sweep, threads=min(threads, AVAILABLE_THREADS))

    def checkpoint(self) -> Any:
        """Give what submitit is to call the next time; the jobs' folders have their checkpoints."""
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
