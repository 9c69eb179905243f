"""One stage of a run: trained epoch by epoch, with metrics and checkpoints in the run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from sae_cli.assembly import compute
from sae_cli.assembly.stages import lr_schedule, steps_per_epoch
from sae_cli.datasets import Split
from sae_cli.run_folder.checkpoints import State
from sae_cli.runs.active_run import Run
from sae_cli.runs.console import epoch_line
from sae_cli.runs.saver import Saver, diverged
from sae_cli.training.loop import Position, encode, evaluate, fit
from sae_cli.training.metrics import BASELINE_BATCH, TERMS, Baseline
from sae_cli.training.optimizers import OPTIMIZERS
from sae_cli.training.profiling import profiled
from sae_cli.training.stage import Stage
from sae_cli.training.step import BrokenError, Step


def train_stage(run: Run, stage: Stage, saved: State | None) -> None:
    """Train: a line of metrics before the first and after each epoch, checkpoints with each.

    Args:
        saved: the checkpoint of this stage to go on from, or None.

    Raises:
        DivergedError: a term of the loss or a weight is not finite.
        Stopped: a signal has asked to.
        CheckpointError: the checkpoint is of something else.
    """
    train, val = _splits(run, stage)
    # Classes are told from the means, in training as in use.
    samples = stage.autoencoder.activation.samples and not stage.supervised
    gradients = compute.gradients(run.config, run.parts, stage)
    optimizer = OPTIMIZERS.build(run.config.parts["optimizer"], gradients.parameters)
    batch_size, generators = run.config.settings.batch_size, run.generators
    step = Step(
        gradients,
        optimizer,
        None if stage.supervised else run.parts.corruption,
        generators.noise,
        batch_size,
        n_sampled=stage.autoencoder.n_latents if samples else 0,
        after=stage.objective.after_step_,
    )
    baseline = Baseline.of(val.batches(BASELINE_BATCH))
    position = Position(0, 0, generators.order.get_state())
    saver = Saver(run, stage, optimizer, step, position)
    progress, steps = run.progress, steps_per_epoch(run.config, len(train))

    def evaluated(train_terms: Mapping[str, float]) -> None:
        values = evaluate(stage.autoencoder, stage.objective, val, baseline, run.parts.device)
        _record(run, stage, progress.epoch + stage.epochs - position.epoch, train_terms, values)
        broken = [name for name in TERMS if not math.isfinite(values.get(name, 0.0))]
        if broken:
            when = f"in the validation after epoch {progress.epoch}"
            raise diverged(run, stage, f"{', '.join(broken)} became infinite or NaN {when}")
        improved = values["loss"] < progress.best_loss
        if improved:
            progress.best_loss, progress.best_epoch = values["loss"], progress.epoch
        saver.save(best=improved)
        run.stop.check()

    run.console.begin(stage.name, steps * stage.epochs)
    if saved is None:
        progress.best_loss, progress.best_epoch = math.inf, progress.epoch
        evaluated({})
    else:
        saver.restore(saved)
    epochs = fit(
        step,
        train,
        lr_schedule(run.config, stage, len(train)),
        learning_rate=stage.learning_rate,
        epochs=stage.epochs,
        batch_size=batch_size,
        order=generators.order,
        position=position,
        on_step=saver.after_step,
    )
    left = stage.epochs - position.epoch
    if run.config.settings.profile and left > 0:
        epochs = profiled(epochs, left, partial(run.folder.save_profile, stage.name))
    try:
        for means in epochs:
            progress.epoch += 1
            evaluated(means)
    except BrokenError as error:
        number = progress.step - position.batch + error.done + 1
        when = f"at step {number} (epoch {progress.epoch + 1})"
        raise diverged(run, stage, f"{error} {when}") from None
    run.console.end()
    if len(run.training.stages) > 1:
        saver.save_stage()


def _splits(run: Run, stage: Stage) -> tuple[Split, Split]:
    """What a stage sees: the data, or the frozen codes of the stages below."""
    train, val = run.training.dataset.train, run.training.dataset.val
    for below in stage.below:
        train = encode(below, train, run.parts.device)
        val = encode(below, val, run.parts.device)
    if stage.objective.head is None:
        return replace(train, labels=None), replace(val, labels=None)
    return stage.examples(train), val


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
    progress.metrics += run.folder.append_metrics(progress.lines[-1])
    shown = stage.name if len(run.training.stages) > 1 else ""
    run.console.say(epoch_line(shown, progress.epoch, last, metrics))
