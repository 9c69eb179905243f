"""Launchers that leave the jobs of a sweep to a queue: those of hydra-submitit-launcher."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, final

from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.config.compose import hydra_ready
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import compose_launcher
from sae_cli.config.launcher_options import check_submitit, options_of
from sae_cli.config.typed_text import quote
from sae_cli.core.errors import ConfigError, Stopped
from sae_cli.core.outputs import processes_write_to
from sae_cli.core.plugins.loaded import LOADED
from sae_cli.core.signals import handle_signals, signals_held
from sae_cli.run_folder.layout import status_of
from sae_cli.runs.sweeps.jobs import Launcher
from sae_cli.runs.sweeps.queue import Queue
from sae_cli.runs.sweeps.queued_job import QueuedJob
from sae_cli.runs.sweeps.sent import to_send
from sae_cli.runs.sweeps.sweep import Sweep

QUEUES = {"submitit_slurm": "slurm", "submitit_local": "local"}
# What Slurm's launcher, its waiting, and its jobs call.
COMMANDS = ("sbatch", "srun", "squeue", "scontrol")
# A Ctrl-C reaches the processes of this machine as well, which save their jobs and end.
ENDING_SECONDS = 10.0
# What the processes print that watch over the jobs of this machine, each of which has its own log.
CONTROLLERS = ".submitit/controllers.log"
AT_A_TIME = "hydra.launcher.array_parallelism="


@final
class QueueLauncher(Launcher):
    """``hydra/launcher=submitit_slurm`` or ``submitit_local``.

    Args:
        words: the overrides that choose it and set its options.
        pages: the user's own folder of pages, if any.
        grouped: whether it is sent groups of jobs that train side by side.
    """

    def __init__(
        self, kind: str, words: Sequence[str], pages: Path | None, *, grouped: bool
    ) -> None:
        self.elsewhere = kind == "slurm"
        self._kind = kind
        self._grouped = grouped
        self._words = words
        self._pages = pages
        self._queue: Queue | None = None
        self._stopped_by: int | None = None

    def check(self) -> None:
        """Raise ConfigError if there is no such queue here, or it does not take these options."""
        options = self._options(Path.cwd())
        check_submitit(options)
        missing = [name for name in COMMANDS if shutil.which(name) is None]
        if self._kind == "slurm" and missing:
            raise ConfigError(
                f"hydra/launcher=submitit_slurm: there is no {missing[0]} here; start the sweep on "
                "a machine that submits to a Slurm cluster, or choose hydra/launcher=submitit_local"
            )

    def _options(self, sweep: Path) -> Mapping[str, Any]:
        folder = f"hydra.sweep.dir={quote(str(sweep))}"
        with hydra_ready(self._pages), explain_errors():
            config = compose_launcher([*self._words, folder])
            return options_of(config)

    def launch(self, sweep: Sweep, numbers: Sequence[int]) -> None:
        """Have the queue run these jobs, but those that have ended well, and wait for their end."""
        left = [n for n in numbers if status_of(sweep.folders[n]) not in {"finished", "pruned"}]
        plugins = tuple(LOADED.values())
        self._queue = None
        groups, work = to_send(sweep, left, self._at_a_time() if self._grouped else None)
        if not groups:
            return
        queue = Queue(sweep, self._kind)
        jobs = [QueuedJob(sweep, group, work, plugins) for group in groups]
        with handle_signals(self._stop):
            self._submit(queue, sweep, jobs)
            self._queue = queue
            if self._stopped_by is not None:
                raise Stopped(self._stopped_by)
            queue.wait()

    def _at_a_time(self) -> int:
        """Give how many groups run at a time; what a cluster has is known if words say so."""
        if self._kind == "local":
            return AVAILABLE_THREADS
        given = any(word.lstrip("+").startswith(AT_A_TIME) for word in self._words)
        return int(self._options(Path.cwd())["array_parallelism"]) if given else 1

    def _submit(self, queue: Queue, sweep: Sweep, jobs: Sequence[QueuedJob]) -> None:
        options = self._options(sweep.path)
        # A Ctrl-C reaches sbatch as well; jobs of this machine would have signals held for good.
        slurm, log = self._kind == "slurm", sweep.path / CONTROLLERS
        held = signals_held() if slurm else processes_write_to(log)
        try:
            with held:
                queue.submit(options, jobs)
        except ConfigError:
            if self._stopped_by is not None:
                raise Stopped(self._stopped_by) from None
            raise

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Stop, but not in the middle of a submission, which would leave jobs without a name."""
        self._stopped_by = number
        if self._queue is not None:
            raise Stopped(number)

    def left(self, sweep: Sweep) -> str:
        """Say which jobs the queue goes on with."""
        if self._queue is None:
            return super().left(sweep)
        ending = self._kind == "local" and self._stopped_by == signal.SIGINT
        return self._queue.left(ENDING_SECONDS if ending else 0.0)
