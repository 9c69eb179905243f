"""The jobs of a sweep in a queue: of Slurm, or processes of this machine, through submitit."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any, final

from sae_cli.core.errors import ConfigError, in_one_line
from sae_cli.core.text import counted, short
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import STATUS, resume_command, status_of
from sae_cli.runs.sweeps.jobs import RESULTS_SECONDS, tell, tell_error, tell_standing
from sae_cli.runs.sweeps.queued_job import QueuedJob
from sae_cli.runs.sweeps.results import write_results
from sae_cli.runs.sweeps.squeue import ask_squeue
from sae_cli.runs.sweeps.standing import ENDED
from sae_cli.runs.sweeps.sweep import Sweep

LOOK_SECONDS = 0.5
# Slurm is asked this often which jobs it still has; that a job has come to its end, its files say.
SQUEUE_SECONDS = 5.0
# What hydra-submitit-launcher calls by this very name for every queue.
SHARED = {
    *("name", "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes"),
    "stderr_to_stdout",
}
FOLDER, TIMEOUTS = "submitit_folder", "max_num_timeout"


@final
class Queue:
    """Jobs that were submitted, until each has ended.

    Args:
        kind: ``slurm`` or ``local``.
    """

    def __init__(self, sweep: Sweep, kind: str) -> None:
        self._sweep = sweep
        self._kind = kind
        # By the number of the job, what submitit has of it; the jobs of a group share it.
        self._left: dict[int, Any] = {}
        self._submitted = self._ended = 0
        # The jobs of groups that had failed before, as their folders said.
        self._before: dict[int, Any] = {}
        self._asked = self._told = self._looked = float("-inf")
        self._listed: set[str] | None = None
        self._answers = True

    def submit(self, options: Mapping[str, Any], jobs: Sequence[QueuedJob]) -> None:
        """Submit jobs, with the options of hydra-submitit-launcher.

        Raises:
            ConfigError: the queue refuses them.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        grouped = [number for job in jobs if len(job.group) > 1 for number in job.group]
        self._before = {number: self._said_of(number) for number in grouped}
        refused = (FailedJobError, FailedSubmissionError, AssertionError, NameError, ValueError)
        try:
            # What sbatch says is in the error as well.
            with redirect_stderr(StringIO()):
                found = _executor(self._kind, options).submit_array(jobs)
        except refused as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"hydra/launcher=submitit_{self._kind}: {reason}") from None
        pairs = zip(jobs, found, strict=True)
        self._left = {number: given for job, given in pairs for number in job.group}
        self._submitted = len(jobs)
        if self._kind == "slurm":
            logs = short(Path(options[FOLDER]).parent)
            ids = ", ".join(self._ids())
            tell(self._sweep, f"{counted(len(jobs), 'job')} of Slurm: {ids}; logs: {logs}")

    def wait(self) -> None:
        """Wait until all have ended; show failures, and how far the sweep is, as it happens."""
        while self._left:
            time.sleep(LOOK_SECONDS)
            self._ask()
            gone = self._take_done()
            for number, job in gone.items():
                self._tell_end(number, job)
            if gone and time.monotonic() - self._told >= RESULTS_SECONDS:
                self._tell_standing()
                self._told = time.monotonic()

    def _tell_standing(self) -> None:
        """Tell how far the sweep is, unless it is where it was."""
        rows = write_results(self._sweep)
        # The last of a group has ended a while before its queue says so.
        ended = sum(row["status"] in ENDED for row in rows)
        if ended > self._ended:
            tell_standing(self._sweep, rows)
        self._ended = ended

    def left(self, wait_seconds: float = 0.0) -> str:
        """Say which jobs go on without this process, and how to cancel them.

        Args:
            wait_seconds: for so long some of them may be about to end.
        """
        ends = time.monotonic() + wait_seconds
        self._take_done()
        while self._left and time.monotonic() < ends:
            time.sleep(LOOK_SECONDS)
            self._take_done()
        if not self._left:
            return "the other jobs wait;"
        numbers = ", ".join(map(str, self._left))
        by, cancel = ("Slurm", "scancel") if self._kind == "slurm" else ("this machine", "kill")
        command = " ".join([cancel, *self._ids()])
        return (
            f"{by} goes on with jobs {numbers} (to cancel them: {command}); when they have ended,"
        )

    def _take_done(self) -> dict[int, Any]:
        """Give the jobs that have ended or left their queue since the last time."""
        return self._take_ended() | self._take_gone()

    def _take_gone(self) -> dict[int, Any]:
        """Give the jobs that have left their queue since the last time."""
        gone = {number: job for number, job in self._left.items() if self._has_gone(job)}
        for number in gone:
            del self._left[number]
        return gone

    def _take_ended(self) -> dict[int, Any]:
        """Give the jobs that have ended since the last time while others of their group go on."""
        if time.monotonic() - self._looked < RESULTS_SECONDS:
            return {}
        self._looked = time.monotonic()
        others = Counter(map(id, self._left.values()))
        found = {}
        for number, job in [*self._left.items()]:
            # The last of a group ends when its queue says so.
            if number not in self._before or others[id(job)] == 1:
                continue
            if self._said_of(number) not in (None, self._before[number]):
                found[number] = self._left.pop(number)
                others[id(job)] -= 1
        return found

    def _said_of(self, number: int) -> Any:
        """Give what the folder of a job says if it has ended; of a job that was tried again, it
        says something else than before."""
        folder = self._sweep.folders[number]
        return read_json(folder / STATUS) if status_of(folder) in ENDED else None

    def _ids(self) -> list[str]:
        """Name the jobs that are left as ``scancel`` takes them: the array, if it is whole."""
        ids = [*dict.fromkeys(str(job.job_id) for job in self._left.values())]
        arrays = {name.partition("_")[0] for name in ids}
        whole = len(ids) == self._submitted and len(arrays) == 1
        return [*arrays] if whole else ids

    def _ask(self) -> None:
        """Ask Slurm for the jobs that it still has: there may be no accounting for ``sacct``."""
        if self._kind != "slurm" or time.monotonic() - self._asked < SQUEUE_SECONDS:
            return
        try:
            listed = ask_squeue("--me", "--array", "--noheader", "--format=%i")
            self._listed, self._answers = {*listed.split()}, True
        except (OSError, subprocess.SubprocessError) as error:
            if self._answers:
                text = str(getattr(error, "stderr", None) or error).strip()
                line = f"Slurm does not answer ({text}); its jobs go on, and this waits"
                print(in_one_line(line), file=sys.stderr, flush=True)
            self._listed, self._answers = None, False
        self._asked = time.monotonic()

    def _has_gone(self, job: Any) -> bool:
        """Whether a job has left its queue, with a result or without."""
        if self._kind == "local":
            return bool(job.done())
        # Slurm was asked first, so that the result of a job that it no longer had is there.
        with suppress(OSError):
            # A network's file system looks anew.
            job.paths.folder.chmod(job.paths.folder.stat().st_mode)
        if job.paths.result_pickle.exists():
            return True
        return self._listed is not None and job.job_id not in self._listed

    def _tell_end(self, number: int, job: Any) -> None:
        """Say why a job that has left its queue has not finished."""
        folder = self._sweep.folders[number]
        status = status_of(folder)
        if status == "failed":
            tell_error(folder.name, str(read_json(folder / STATUS).get("error")))
        elif status not in ENDED:
            line = f"{_why(job)}; resume with: {resume_command(self._sweep.path)}"
            tell_error(folder.name, line)


def _why(job: Any) -> str:
    """Say what submitit knows of a job that has not come to its end."""
    log = f"its log is {short(job.paths.stderr)}"
    error = job.exception() if job.paths.result_pickle.exists() else None
    said = [line for line in str(error).splitlines() if "Error: " in line]
    return f"{said[-1].partition('Error: ')[2] if said else 'it left its queue early'}; {log}"


def _executor(kind: str, options: Mapping[str, Any]) -> Any:
    """Make submitit's executor as hydra-submitit-launcher does."""
    from submitit import AutoExecutor

    given = {key: value for key, value in options.items() if key not in {FOLDER, "_target_"}}
    if kind == "slurm" and given["cpus_per_task"] is not None:
        # Since Slurm 22.05, srun gives a job one core of those that sbatch was asked for.
        exported = f"export SRUN_CPUS_PER_TASK={given['cpus_per_task']}"
        given["setup"] = [*(given["setup"] or []), exported]
    first = {f"{kind}_{key}": given.pop(key) for key in (TIMEOUTS,) if key in given}
    executor = AutoExecutor(cluster=kind, folder=options[FOLDER], **first)
    named = {key if key in SHARED else f"{kind}_{key}": value for key, value in given.items()}
    executor.update_parameters(**named)
    return executor
