"""Weights & Biases: an offline run in the folder of all runs, or one on a server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast, final

from sae_cli.core.options import Count
from sae_cli.trackers.tracker import NEEDS, TRACKERS, About, Line, Needs, Tracker

NEEDS["wandb"] = Needs(lambda options: ("wandb",), ("mode", "offline"))
PREFIX = "WANDB_"
# These say who the user is; the others would change what is logged, and where.
KEPT = {"WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_IDENTITY_TOKEN_FILE"}
# Each row of the history has the number of its line, so that a server can say what it has.
LINE = "line"


@TRACKERS.register("wandb")
@final
class Wandb(Tracker):
    """A row of the history for each line, and pictures.

    Neither output, code, git nor the machine is recorded. An offline run cannot be resumed by
    W&B, so it is made anew from the run folder.

    Args:
        mode: offline leaves a folder that ``wandb sync`` can send; online sends at once.
        project: its name.
    """

    def __init__(
        self,
        about: About,
        *,
        log_every: Count = 50,
        mode: Literal["offline", "online"] = "offline",
        project: str = "sae-train",
    ) -> None:
        for name in {name for name in os.environ if name.startswith(PREFIX)} - KEPT:
            del os.environ[name]
        # W&B reports its own errors to its makers unless it is told not to.
        os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
        import wandb

        self.log_every = log_every
        self._image: Any = wandb.Image
        if mode == "offline":
            for earlier in (about.store / "wandb").glob(f"offline-run-*-{about.id}"):
                shutil.rmtree(earlier)
        settings = wandb.Settings(
            console="off",
            disable_git=True,
            save_code=False,
            silent=True,
            symlink=False,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run = cast(
            Any,
            wandb.init(
                project=project,
                dir=str(about.store),
                id=about.id,
                name=about.name,
                group=about.sweep,
                tags=[f"{key}: {value}"[:64] for key, value in about.tags.items()],
                config=about.config,
                mode=mode,
                resume="allow" if mode == "online" else None,
                allow_val_change=True,
                settings=settings,
            ),
        )
        # Where it cannot write, W&B silently takes a temporary folder.
        if not Path(self._run.dir).is_relative_to(about.store):
            raise OSError(f"{about.store} cannot be written to")
        self._run.define_metric("*", step_metric="step")
        self._left_out = int(self._run.summary.get(LINE) or 0)
        self._lines = 0

    def log(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._lines += 1
            if self._lines > self._left_out:
                row: dict[str, Any] = {LINE: self._lines, "step": line.step, "stage": line.stage}
                row |= {} if line.epoch is None else {"epoch": line.epoch}
                self._run.log(row | {"_timestamp": line.time} | line.values)

    def show(self, name: str, png: Path, line: Line) -> None:
        self._run.log({"step": line.step, f"pictures/{name}": self._image(str(png))})

    def end(self, status: str) -> None:
        self._run.finish(exit_code=0 if status == "finished" else 1)
