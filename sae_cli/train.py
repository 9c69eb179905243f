"""One run: trains what a configuration describes and leaves a complete run folder."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_cli import build, engine
from sae_cli.config import RunConfig
from sae_cli.console import Console
from sae_cli.datasets import Dataset, Split
from sae_cli.draw import draw
from sae_cli.environment import environment
from sae_cli.loop import evaluate
from sae_cli.metrics import BASELINE_BATCH, Baseline
from sae_cli.run_folder import RunFolder
from sae_cli.stage import Progress, Run, lr_schedule, train_stage
from sae_cli.tables import short, table


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
    parts = build.parts(config)
    data = build.dataset(config)
    build.check_data(config, parts, data)
    training = build.training(config, parts, data)
    for stage in training.stages:
        lr_schedule(config, stage, len(data.train))
    config = engine.settled(config, parts, training)
    engine.prepare(config)
    about = environment() | {"dataset": _about(data), "device": str(parts.device.torch)}

    folder = RunFolder(path)
    folder.claim()
    console = Console(folder.log, config.settings.progress)
    generators = build.generators(config, parts.device)
    run = Run(config, parts, training, generators, Progress(), folder, console)
    try:
        folder.write_config(config.as_dict())
        folder.write_overrides(overrides)
        folder.write_environment(about)
        summary = _train(run) | {"seconds": round(time.monotonic() - started, 3)}
        folder.write_summary(summary)
    except BaseException as error:
        console.end()
        folder.log(traceback.format_exc())
        status = "failed" if isinstance(error, Exception) else "interrupted"
        folder.set_status(status, error=str(error) or type(error).__name__)
        console.say(f"run folder: {short(path)} ({status})")
        raise
    folder.set_status("finished")
    console.say(f"run folder: {short(path)}")
    return summary


def _about(data: Dataset) -> dict[str, Any]:
    """What the run folder says of the data."""
    return {
        "source": data.source,
        "fingerprint": data.fingerprint(),
        "input_shape": list(data.shape.input_shape),
        "n_classes": data.n_classes,
        "train": len(data.train),
        "val": len(data.val),
        "test": len(data.test),
    }


def _train(run: Run) -> dict[str, Any]:
    """All stages, then the closing evaluation, the model and the pictures."""
    data, model = run.training.dataset, run.training.autoencoder
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    sizes = f"{len(data.train)} train, {len(data.val)} val, {len(data.test)} test"
    run.console.say(f"data: {data.source}; {sizes}")
    run.console.say(
        f"model: {run.config.settings.model}, {data.shape.n_features} features, "
        f"{model.n_latents} latents, {n_parameters} parameters; device: {run.parts.device.torch}, "
        f"{engine.described(run.config)}"
    )
    for stage in run.training.stages:
        train_stage(run, stage)
    final = _closing_metrics(run)
    run.folder.save_model(model.state_dict(), data.shape)
    for line in _closing_table(final, model.activation.active_above):
        run.console.say(line)
    if run.config.settings.pictures:
        for picture in draw(run):
            run.folder.save_picture(picture)
    return {
        "status": "finished",
        "best_epoch": run.progress.best_epoch,
        "n_latents": model.n_latents,
        "n_parameters": n_parameters,
        "active_above": model.activation.active_above,
        **final,
    }


def _closing_metrics(run: Run) -> dict[str, float]:
    """Every metric of the final weights on every split."""
    data = run.training.dataset
    # The last epoch has ended with an evaluation of these very weights.
    last = run.progress.lines[-1]
    val = {key: value for key, value in last.items() if key.startswith("val/")}
    return _evaluated(run, "train", data.train) | val | _evaluated(run, "test", data.test)


def _evaluated(run: Run, name: str, split: Split) -> dict[str, float]:
    model, objective = run.training.autoencoder, run.training.objective
    baseline = Baseline.of(split.batches(BASELINE_BATCH))
    values = evaluate(model, objective, split, baseline, run.parts.device)
    return {f"{name}/{key}": value for key, value in values.items()}


def _closing_table(final: Mapping[str, float], active_above: float) -> list[str]:
    """Train, validation and test beside each other."""
    splits = ("train", "val", "test")
    names = [key.removeprefix("test/") for key in final if key.startswith("test/")]
    rows = [[name, *(final[f"{split}/{name}"] for split in splits)] for name in names]
    note = (
        "Of the final weights. l0 and dead_latents: a code is active when its magnitude exceeds "
        f"{active_above:g}."
    )
    return ["", *table(["metric", *splits], rows), note]
