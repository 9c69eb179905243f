"""A run at work: what its stages share, and how far it is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from sae_cli.assembly.parts import Parts
from sae_cli.assembly.stages import Training
from sae_cli.config.schema import RunConfig
from sae_cli.core.signals import Stop
from sae_cli.run_folder.folder import RunFolder
from sae_cli.runs.console import Console
from sae_cli.training.loop import Generators


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        epoch, step: done so far, over all stages.
        saved_step: of the last checkpoint.
        best_epoch, best_loss: the lowest validation loss of the present stage.
        lines: of ``metrics.jsonl``.
        metrics: its text.
        earlier_seconds: taken before this process took the run up.
    """

    epoch: int = 0
    step: int = 0
    saved_step: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    lines: list[dict[str, Any]] = field(default_factory=list)
    metrics: str = ""
    earlier_seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Taken so far."""
        return self.earlier_seconds + time.monotonic() - self._started


@dataclass(frozen=True)
class Run:
    """What all stages of a run share.

    Attributes:
        fingerprint: of the data.
        stop: whether a signal has asked to stop.
    """

    config: RunConfig
    parts: Parts
    training: Training
    fingerprint: str
    generators: Generators
    progress: Progress
    folder: RunFolder
    console: Console
    stop: Stop
