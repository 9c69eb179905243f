"""One stage of a run, epoch by epoch, with metrics and checkpoints in the run folder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import final

from sae_cli.assembly.data import baseline_of
from sae_cli.assembly.stages import steps_per_epoch
from sae_cli.core.ranks.together import meet_ranks
from sae_cli.datasets import Split
from sae_cli.runs.active_run import ActiveRun
from sae_cli.runs.calls import Call, call
from sae_cli.runs.divergence import divergence, hopeless
from sae_cli.runs.saver import Saver
from sae_cli.runs.steps import build_step, splits_of, take_steps
from sae_cli.training.iterations import Iteration
from sae_cli.training.loop import Position, evaluate
from sae_cli.training.metrics import TERMS
from sae_cli.training.optimizers import Mover
from sae_cli.training.profiling import profile_epochs
from sae_cli.training.stage import Stage
from sae_cli.training.step import Step
from sae_cli.training.sums import BrokenError


def train_stage(run: ActiveRun, stage: Stage) -> None:
    """Train a stage; before the first epoch and after each, log metrics and save a checkpoint.

    Raises:
        DivergedError: a term of the loss or a weight is not finite.
        ConfigError, MachineError: the data changed, or can no longer be read.
        Stopped: a signal has asked to.
        Pruned: the run is watched, and not worth its time.
        CheckpointError: the checkpoint to resume from does not fit.
    """
    train, val = splits_of(run.training, stage)
    optimizer, step = build_step(run.made, stage, train, run.generators, run.stop)
    try:
        _train(run, stage, optimizer, step, train, val)
    finally:
        if isinstance(step, Step):
            step.end()


def _train(
    run: ActiveRun,
    stage: Stage,
    optimizer: Mover,
    step: Step | Iteration,
    train: Split,
    val: Split,
) -> None:
    position = Position(0, 0, run.generators.order.get_state())
    saver = Saver(run, stage, optimizer, step, position)
    validation = _Validation(run, stage, val)
    saved = run.state_of(stage)
    if saved is not None:
        saver.restore(saved)
        # The process may have been killed between an epoch and what it was watched for.
        if 0 < position.epoch < stage.epochs:
            run.watch(run.log.lines)
    in_epoch = steps_per_epoch(run.config, len(train))
    run.console.begin(
        stage.name,
        in_epoch,
        stage.epochs,
        first=run.progress.epoch - position.epoch,
        done=position.epoch * in_epoch + position.batch,
    )
    run.tracking.begin_stage(stage.name)
    if saved is None:
        run.progress.best_loss, run.progress.best_epoch = math.inf, run.progress.epoch
        saver.save(best=validation.improves({}))
        run.stop.check()
    call(Call.GO_ON)
    said: set[str] = set()
    for means in _epochs(run, stage, optimizer, step, train, position, saver):
        # The others have looked at their data.
        meet_ranks()
        run.progress.epoch += 1
        for note in step.notes:
            if note not in said:
                run.console.say(note)
        said.update(step.notes)
        saver.save(best=validation.improves(means))
        run.stop.check()
        call(Call.GO_ON)
        if position.epoch < stage.epochs:
            run.watch(run.log.lines)
    run.console.end()
    if len(run.training.stages) > 1:
        saver.save_stage()


def _epochs(
    run: ActiveRun,
    stage: Stage,
    optimizer: Mover,
    step: Step | Iteration,
    train: Split,
    position: Position,
    saver: Saver,
) -> Iterator[dict[str, float]]:
    """Train, and after each epoch give the means of the terms.

    Raises:
        DivergedError: a term of the loss is not finite.
    """
    epochs = take_steps(
        run.made,
        stage,
        optimizer,
        step,
        train,
        generators=run.generators,
        position=position,
        on_step=saver.after_step,
        free_steps=saver.free_steps,
    )
    left = stage.epochs - position.epoch
    if run.config.settings.profile and left > 0:
        epochs = profile_epochs(epochs, left, partial(run.folder.save_profile, stage.name))
    try:
        for means in epochs:
            yield means | stage.objective.report_()
    except BrokenError as error:
        # Other data are a reason of their own.
        run.check_data()
        if position.epoch == 0 and error.done == 0:
            # The first loss is that of weights which have not moved.
            raise hopeless(run, stage, str(error)) from None
        number = run.progress.step - position.batch + error.done + 1
        when = f"at step {number} (epoch {run.progress.epoch + 1})"
        raise divergence(run, stage, f"{error} {when}") from None


@final
class _Validation:
    """The evaluation of a stage on its validation split, which knows the best loss so far."""

    def __init__(self, run: ActiveRun, stage: Stage, val: Split) -> None:
        self._run = run
        self._stage = stage
        self._val = val
        self._baseline = baseline_of(run.config, val)

    def improves(self, train_terms: Mapping[str, float]) -> bool:
        """Evaluate, log a line, and tell whether the loss is the lowest of the stage so far.

        Args:
            train_terms: the means of the epoch; empty before the first.

        Raises:
            DivergedError: a term of the loss is not finite.
        """
        run, stage, progress = self._run, self._stage, self._run.progress
        call(Call.VAL)
        begun = time.monotonic()
        values = evaluate(
            stage.autoencoder, stage.objective, self._val, self._baseline, run.training.device
        )
        progress.evaluating = (time.monotonic() - begun) / len(self._val)
        run.check_data()
        metrics = {f"train/{name}": value for name, value in train_terms.items()}
        metrics |= {f"val/{name}": value for name, value in values.items()}
        run.log.append(
            {"stage": stage.name, "epoch": progress.epoch, "step": progress.step, **metrics}
        )
        broken = [name for name in TERMS if not math.isfinite(values.get(name, 0.0))]
        if broken and not train_terms:
            raise hopeless(run, stage, f"{', '.join(broken)} are infinite or NaN")
        if broken:
            when = f"in the validation after epoch {progress.epoch}"
            raise divergence(run, stage, f"{', '.join(broken)} became infinite or NaN {when}")
        if values["loss"] >= progress.best_loss:
            return False
        progress.best_loss, progress.best_epoch = values["loss"], progress.epoch
        return True
