"""One stage of a run: trained epoch by epoch, with metrics and checkpoints in the run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sae_cli import engine
from sae_cli.build import Parts, Training
from sae_cli.config import RunConfig
from sae_cli.console import Console, epoch_line
from sae_cli.datasets import Split
from sae_cli.loop import (
    DivergedError,
    Generators,
    encode,
    evaluate,
    fit,
)
from sae_cli.lr_schedules import LR_SCHEDULES, LrSchedule
from sae_cli.metrics import BASELINE_BATCH, TERMS, Baseline
from sae_cli.optimizers import OPTIMIZERS, Optimizer
from sae_cli.profiling import profiled
from sae_cli.run_folder import RunFolder
from sae_cli.schedules import Stage
from sae_cli.step import Step


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        epoch, step: done so far, over all stages.
        best_epoch, best_loss: the lowest validation loss of the present stage.
        lines: of ``metrics.jsonl``.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    lines: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What all stages of a run share."""

    config: RunConfig
    parts: Parts
    training: Training
    generators: Generators
    progress: Progress
    folder: RunFolder
    console: Console


def train_stage(run: Run, stage: Stage) -> None:
    """Train: a line of metrics before the first and after each epoch, checkpoints with each."""
    train, val = _splits(run, stage)
    gradients = engine.gradients(run.config, run.parts, stage)
    optimizer = OPTIMIZERS.build(run.config.parts["optimizer"], gradients.parameters)
    batch_size, generators = run.config.settings.batch_size, run.generators
    step = Step(gradients, optimizer, run.parts.corruption, generators.corruption, batch_size)
    baseline = Baseline.of(val.batches(BASELINE_BATCH))
    progress, steps = run.progress, steps_per_epoch(run.config, len(train))
    progress.best_loss, progress.best_epoch = math.inf, progress.epoch
    last = progress.epoch + stage.epochs

    def evaluated(train_terms: Mapping[str, float]) -> None:
        values = evaluate(stage.autoencoder, stage.objective, val, baseline, run.parts.device)
        _record(run, stage, last, train_terms, values)
        if not math.isfinite(values["loss"]):
            terms = {name: value for name, value in values.items() if name in TERMS}
            raise DivergedError(terms, f"after epoch {progress.epoch}")
        _save(run, stage, optimizer, values["loss"])

    run.console.begin(stage.name, steps * stage.epochs)
    evaluated({})
    epochs = fit(
        step,
        train,
        lr_schedule(run.config, stage, len(train)),
        learning_rate=stage.learning_rate,
        epochs=stage.epochs,
        batch_size=batch_size,
        order=generators.order,
        on_step=run.console.step,
    )
    if run.config.settings.profile:
        epochs = profiled(epochs, stage.epochs, partial(run.folder.save_profile, stage.name))
    for means in epochs:
        progress.epoch += 1
        progress.step += steps
        evaluated(means)
    run.console.end()
    if len(run.training.stages) > 1:
        run.folder.save_checkpoint([stage.name], _state(run, stage, optimizer))


def steps_per_epoch(config: RunConfig, n_examples: int) -> int:
    """The last batch may be smaller."""
    return -(-n_examples // config.settings.batch_size)


def lr_schedule(config: RunConfig, stage: Stage, n_examples: int) -> LrSchedule:
    """The factor on the learning rate over the steps of the stage.

    Raises:
        ConfigError: the warm-up is longer than the stage.
    """
    total = steps_per_epoch(config, n_examples) * stage.epochs
    return LR_SCHEDULES.build(config.parts["lr_schedule"], total)


def _splits(run: Run, stage: Stage) -> tuple[Split, Split]:
    """What a stage sees: the data, or the frozen codes of the stages below."""
    train, val = run.training.dataset.train, run.training.dataset.val
    for below in stage.below:
        train = encode(below, train, run.parts.device)
        val = encode(below, val, run.parts.device)
    return train, val


def _record(
    run: Run, stage: Stage, last: int, train: Mapping[str, float], val: Mapping[str, float]
) -> None:
    """A line in ``metrics.jsonl`` and one to read."""
    progress = run.progress
    metrics = {f"train/{name}": value for name, value in train.items()}
    metrics |= {f"val/{name}": value for name, value in val.items()}
    progress.lines.append(
        {"stage": stage.name, "epoch": progress.epoch, "step": progress.step, **metrics}
    )
    run.folder.append_metrics(progress.lines[-1])
    shown = stage.name if len(run.training.stages) > 1 else ""
    run.console.say(epoch_line(shown, progress.epoch, last, metrics))


def _save(run: Run, stage: Stage, optimizer: Optimizer, loss: float) -> None:
    """``last.pt``, and ``best.pt`` when the validation loss is the stage's lowest."""
    improved = loss < run.progress.best_loss
    if improved:
        run.progress.best_loss, run.progress.best_epoch = loss, run.progress.epoch
    state = _state(run, stage, optimizer)
    run.folder.save_checkpoint(["last", "best"] if improved else ["last"], state)


def _state(run: Run, stage: Stage, optimizer: Optimizer) -> dict[str, Any]:
    """All that a training depends on from here on, as tensors and plain types."""
    return {
        "model": run.training.autoencoder.state_dict(),
        "objective": run.training.objective.state_dict(),
        "optimizer": optimizer.state_dict(),
        "order": run.generators.order.get_state(),
        "corruption": run.generators.corruption.get_state(),
        "stage": stage.name,
        "epoch": run.progress.epoch,
        "step": run.progress.step,
        "best_epoch": run.progress.best_epoch,
        "best_loss": run.progress.best_loss,
    }
