"""A run at work: what its stages share, and how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sae_cli.assembly.data_files import check_files
from sae_cli.assembly.prepare import Prepared
from sae_cli.assembly.stages import Training
from sae_cli.assembly.streams import generators
from sae_cli.config.schema import RunConfig
from sae_cli.core.company import in_company
from sae_cli.core.signals import Stop
from sae_cli.results.fair import of_codes
from sae_cli.run_folder.folder import RunFolder
from sae_cli.run_folder.layout import holds_sweep
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.console import Console, Saying
from sae_cli.runs.metric_log import MetricLog
from sae_cli.runs.tracking import Tracking
from sae_cli.training.loop import Generators
from sae_cli.training.stage import Stage

Watch = Callable[[Sequence[Mapping[str, Any]]], None]


def watch_nothing(lines: Sequence[Mapping[str, Any]]) -> None:
    """Let a run train to its end."""


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epoch, step: done so far, over all stages.
        saved_step: of the last checkpoint.
        best_epoch, best_loss: the lowest validation loss of the present stage.
        earlier_seconds: taken before this process resumed the run.
        started: when this process began, on the clock of ``time.monotonic``.
        evaluating: the seconds that the last evaluation of this process took for each example; 0
            before the first, as of a run that was resumed after its last epoch.
    """

    epoch: int = 0
    step: int = 0
    saved_step: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    earlier_seconds: float = 0.0
    started: float = field(default_factory=time.monotonic)
    evaluating: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds taken so far."""
        return self.earlier_seconds + time.monotonic() - self.started


@dataclass(frozen=True)
class ActiveRun:
    """What all stages of a run share.

    Attributes:
        made: what it was made of.
        tracking: the trackers that are told of it.
        stop: whether a signal has asked to stop.
        resumed: the checkpoint that the run resumes from, or None.
        watch: called with the lines of ``metrics.jsonl`` after each epoch but the last of a stage,
            once they are saved; it raises ``Pruned`` to end the run.
    """

    made: Prepared
    generators: Generators
    progress: Progress
    log: MetricLog
    folder: RunFolder
    console: Console
    tracking: Tracking
    stop: Stop
    resumed: TrainState | None
    watch: Watch

    @property
    def config(self) -> RunConfig:
        return self.made.config

    @property
    def training(self) -> Training:
        return self.made.training

    @property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return self.log.lines

    def check_data(self) -> None:
        """Raise an error unless what was read of the data is what the run began with.

        Raises:
            ConfigError, MachineError: as ``check_files``.
        """
        self.console.say(*check_files(self.made))

    def state_of(self, stage: Stage) -> TrainState | None:
        """Give the checkpoint that this stage resumes from, or None where it begins."""
        return self.resumed if self.resumed and self.resumed.stage == stage.name else None


def activate(
    made: Prepared,
    folder: RunFolder,
    progress: Progress,
    stop: Stop,
    resumed: TrainState | None,
    loggers: Mapping[str, Mapping[str, Any]],
    watch: Watch = watch_nothing,
) -> ActiveRun:
    """Join a prepared run with the folder that it writes to, and its trackers."""
    settings = made.config.settings
    # The lines of runs that go on side by side would be in each other's way.
    quiet = settings.quiet or in_company()
    saying = Saying(
        bar=settings.progress,
        every=settings.log_every,
        steps=settings.log_steps,
        quiet=quiet,
        # The last line of a sweep is its own.
        last=not (quiet and holds_sweep(folder.path.parent)),
    )
    config, activation = made.config, made.training.autoencoder.activation
    console = Console(
        folder.log,
        saying,
        len(made.training.stages) > 1,
        config.target_activity,
        of_codes(config.parts, activation.active_above),
    )
    log = MetricLog()
    tracking = Tracking(made.config, loggers, folder.path, console.say, console.warn)
    log.listeners += [folder.append_metrics, console.show_metrics, tracking.add_metrics]
    return ActiveRun(
        made,
        generators(settings.seed, made.training.device.torch),
        progress,
        log,
        folder,
        console,
        tracking,
        stop,
        resumed,
        watch,
    )
