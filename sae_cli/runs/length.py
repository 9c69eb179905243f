"""Whether a run that has come to a checkpoint may have another number of epochs."""

from __future__ import annotations

from dataclasses import replace

from sae_cli.assembly.prepare import Prepared
from sae_cli.assembly.stages import lr_schedule, steps_per_epoch
from sae_cli.core.errors import CheckpointError, ConfigError
from sae_cli.run_folder.train_state import TrainState
from sae_cli.training.stage import Stage


def _find_stage(made: Prepared, saved: TrainState) -> Stage:
    """Find the stage of a checkpoint.

    Raises:
        CheckpointError: there is no such stage, or no such batch of it.
    """
    stages = {stage.name: stage for stage in made.training.stages}
    if saved.stage not in stages:
        raise CheckpointError(
            f"the checkpoint is of stage {saved.stage!r}, and the run has {', '.join(stages)}"
        )
    stage = stages[saved.stage]
    n = len(stage.examples(made.training.dataset.train))
    if saved.batch > steps_per_epoch(made.config, n):
        raise CheckpointError(f"the checkpoint is of batch {saved.batch}, more than there are")
    return stage


def check_length(made: Prepared, saved: TrainState) -> None:
    """Check that another number of epochs leaves the steps that were taken as they were.

    Raises:
        ConfigError: the number of epochs is too small, or would have changed earlier steps.
    """
    stage = _find_stage(made, saved)
    n = len(stage.examples(made.training.dataset.train))
    epochs, done = stage.epochs, saved.stage_epoch + (saved.batch > 0)
    if done > epochs:
        raise ConfigError(f"epochs={epochs}: the run has come to epoch {done}; give at least that")
    given, before = made.config.settings.epochs, saved.config["epochs"]
    if given == before:
        return
    if stage.objective.head is not None:
        raise ConfigError(
            f"epochs={given}: the auto-encoder's own training is over (epochs={before}) and its "
            "classifier builds on it; begin a new run"
        )
    own = [one for one in made.training.stages if one.objective.head is None]
    if stage is own[-1]:
        then = replace(stage, epochs=before)
        old, new = (lr_schedule(made.config, one, n) for one in (then, stage))
        steps = saved.stage_epoch * steps_per_epoch(made.config, n) + saved.batch
        if any(old(step) != new(step) for step in range(steps)):
            raise ConfigError(
                f"epochs={epochs}: lr_schedule={made.config.parts['lr_schedule']['name']} spread "
                f"the learning rate over {then.epochs} epochs, and {epochs} would have changed "
                "steps that were taken; only lr_schedule=constant allows another number"
            )
