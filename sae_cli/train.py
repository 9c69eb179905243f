"""One run: trains what a configuration describes and leaves a complete run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sae_cli import build
from sae_cli.build import Parts, Training
from sae_cli.config import RunConfig
from sae_cli.console import Console, epoch_line
from sae_cli.datasets import Split
from sae_cli.draw import draw
from sae_cli.environment import environment
from sae_cli.loop import Generators, encode, evaluate, fit
from sae_cli.metrics import Baseline
from sae_cli.optimizers import LR_SCHEDULES, OPTIMIZERS
from sae_cli.run_folder import RunFolder
from sae_cli.schedules import Stage
from sae_cli.tables import table


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
    best_loss: float = float("inf")
    lines: list[dict[str, Any]] = field(default_factory=list)


def train(config: RunConfig, path: Path, overrides: list[str]) -> dict[str, Any]:
    """Train, and return what ``summary.json`` holds.

    Nothing is written before the configuration and the data are known to be good.

    Args:
        config: the checked configuration.
        path: the run folder.
        overrides: what the command line changed.

    Raises:
        ConfigError: the parts do not go together, the data are missing or unfit, or the folder
            holds a run.
        DivergedError: the loss became infinite or NaN.
    """
    started = time.monotonic()
    made = build.parts(config)
    data = build.dataset(config)
    build.check_data(config, made, data)
    fingerprint = data.fingerprint()
    training = build.training(config, made, data)
    for stage in training.stages:
        _lr_schedule(config, stage, len(data.train))

    folder = RunFolder(path)
    folder.claim()
    try:
        folder.write_config(config.as_dict())
        folder.write_overrides(overrides)
        folder.write_environment(
            environment()
            | {
                "device": str(made.device.torch),
                "dataset": {
                    "source": data.source,
                    "fingerprint": fingerprint,
                    "input_shape": list(data.shape.input_shape),
                    "n_classes": data.n_classes,
                    "train": len(data.train),
                    "val": len(data.val),
                    "test": len(data.test),
                },
            }
        )
        console = Console(folder.log, config.settings.progress)
        summary = _run(config, made, training, folder, console) | {
            "seconds": round(time.monotonic() - started, 3)
        }
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        folder.set_status(status, error=str(error) or type(error).__name__)
        raise
    folder.write_summary(summary)
    folder.set_status("finished")
    console.say(f"run folder: {_shown(path)}")
    return summary


def _run(
    config: RunConfig, made: Parts, training: Training, folder: RunFolder, console: Console
) -> dict[str, Any]:
    """All stages, then the closing evaluation, model and pictures."""
    data, model = training.dataset, training.autoencoder
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    console.say(f"data: {data.source}; {len(data.train)} train, {len(data.val)} val, {len(data.test)} test")
    console.say(
        f"model: {config.settings.model}, {data.shape.n_features} features, {model.n_latents} "
        f"latents, {n_parameters} parameters; device: {made.device.torch}"
    )
    progress = Progress()
    generators = build.generators(config, made.device)
    for stage in training.stages:
        _train_stage(config, made, training, stage, generators, progress, folder, console)

    final: dict[str, Any] = {}
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        baseline = Baseline.of(split.batches(1024))
        terms, _ = evaluate(model, training.objective, split, baseline, made.device)
        final |= {f"{name}/{key}": value for key, value in terms.items()}
    folder.save_model(
        model.state_dict(),
        {
            "input_shape": json.dumps(data.shape.input_shape),
            "n_classes": json.dumps(data.n_classes),
        },
    )
    for line in _closing_table(final, model.activation.active_above):
        console.say(line)
    if config.settings.pictures:
        pictures = draw(
            model, data, made, build.generators(config, made.device), progress.lines, training.objective
        )
        for picture in pictures:
            folder.save_picture(picture)
    return {
        "status": "finished",
        "best_epoch": progress.best_epoch,
        "n_latents": model.n_latents,
        "n_parameters": n_parameters,
        "active_above": model.activation.active_above,
        **final,
    }


def _train_stage(
    config: RunConfig,
    made: Parts,
    training: Training,
    stage: Stage,
    generators: Generators,
    progress: Progress,
    folder: RunFolder,
    console: Console,
) -> None:
    """One stage: a line before it and after each epoch, checkpoints on the way."""
    train_split, val_split = _stage_data(training.dataset.train, training.dataset.val, stage, made)
    baseline = Baseline.of(val_split.batches(1024))
    optimizer = OPTIMIZERS.build(
        config.parts["optimizer"] | {"learning_rate": stage.learning_rate},
        [*stage.autoencoder.parameters(), *stage.objective.parameters()],
    )
    progress.best_loss, progress.best_epoch = float("inf"), progress.epoch
    steps = _steps(config, len(train_split))
    last = progress.epoch + stage.epochs

    def record(train_terms: Mapping[str, float]) -> None:
        values, _ = evaluate(stage.autoencoder, stage.objective, val_split, baseline, made.device)
        line = {f"train/{name}": value for name, value in train_terms.items()}
        line |= {f"val/{name}": value for name, value in values.items()}
        progress.lines.append(
            {"stage": stage.name, "epoch": progress.epoch, "step": progress.step} | line
        )
        folder.append_metrics(progress.lines[-1])
        shown = stage.name if len(training.stages) > 1 else ""
        console.say(epoch_line(shown, progress.epoch, last, line))
        improved = values["loss"] < progress.best_loss
        if improved:
            progress.best_loss, progress.best_epoch = values["loss"], progress.epoch
        state = _state(training, optimizer, generators, stage, progress)
        for name in ["last", "best"] if improved else ["last"]:
            folder.save_checkpoint(name, state)

    console.begin(stage.name, steps * stage.epochs)
    record({})
    epochs = fit(
        stage.autoencoder,
        stage.objective,
        optimizer,
        _lr_schedule(config, stage, len(train_split)),
        train_split,
        epochs=stage.epochs,
        batch_size=config.settings.batch_size,
        corruption=made.corruption,
        generators=generators,
        device=made.device,
        on_step=console.step,
    )
    for means in epochs:
        progress.epoch += 1
        progress.step += steps
        record(means)
    console.end()
    if len(training.stages) > 1:
        folder.save_checkpoint(stage.name, _state(training, optimizer, generators, stage, progress))


def _stage_data(train_split: Split, val_split: Split, stage: Stage, made: Parts) -> tuple[Split, Split]:
    """The splits that a stage sees: the data, or the frozen codes of the stages below."""
    for below in stage.below:
        train_split = encode(below, train_split, made.device)
        val_split = encode(below, val_split, made.device)
    return train_split, val_split


def _steps(config: RunConfig, n_examples: int) -> int:
    """Steps of one epoch; the last batch may be smaller."""
    return -(-n_examples // config.settings.batch_size)


def _lr_schedule(config: RunConfig, stage: Stage, n_examples: int) -> Any:
    total = _steps(config, n_examples) * stage.epochs
    return LR_SCHEDULES.build(config.parts["lr_schedule"], total)


def _state(
    training: Training,
    optimizer: torch.optim.Optimizer,
    generators: Generators,
    stage: Stage,
    progress: Progress,
) -> dict[str, Any]:
    """All that a training depends on from here on, as tensors and plain types."""
    return {
        "model": training.autoencoder.state_dict(),
        "objective": training.objective.state_dict(),
        "optimizer": optimizer.state_dict(),
        "order": generators.order.get_state(),
        "corruption": generators.corruption.get_state(),
        "stage": stage.name,
        "epoch": progress.epoch,
        "step": progress.step,
        "best_epoch": progress.best_epoch,
        "best_loss": progress.best_loss,
    }


def _closing_table(final: Mapping[str, Any], active_above: float) -> list[str]:
    """Each metric of the final weights: train, validation and test."""
    names = [key.removeprefix("test/") for key in final if key.startswith("test/")]
    rows = [[name, *(final[f"{split}/{name}"] for split in ("train", "val", "test"))] for name in names]
    note = f"final weights; l0 and dead_latents: a code is active when its magnitude exceeds {active_above:g}"
    return ["", *table(["metric", "train", "val", "test"], rows), note]


def _shown(path: Path) -> str:
    """Relative to where the user is, where that is shorter to read."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
