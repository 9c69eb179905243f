"""The checkpoints of a stage: when they are saved, what they hold, and how they are restored."""

from __future__ import annotations

import time
from typing import final

from sae_cli.model.objective import Terms
from sae_cli.run_folder.train_state import TrainState
from sae_cli.runs.active_run import ActiveRun
from sae_cli.runs.calls import Call, call
from sae_cli.runs.divergence import divergence
from sae_cli.runs.restoring import refuse_misfits, restore_steps, restore_training
from sae_cli.runs.slices import find_broken, whole_model, whole_moments
from sae_cli.training.iterations import Iteration
from sae_cli.training.loop import Position
from sae_cli.training.optimizers import Mover
from sae_cli.training.stage import Stage
from sae_cli.training.step import Step


def restore_run(run: ActiveRun, state: TrainState) -> None:
    """Restore what all stages share.

    Raises:
        CheckpointError: the state is of another network.
    """
    progress = run.progress
    restore_training(run.training, run.generators, state)
    with refuse_misfits():
        run.log.restore(state.metrics, [stage.name for stage in run.training.stages])
    progress.epoch, progress.step = state.epoch, state.step
    progress.best_epoch, progress.best_loss = state.best_epoch, state.best_loss
    progress.saved_step, progress.earlier_seconds = state.step, state.seconds


@final
class Saver:
    """The checkpoints of a stage: after each epoch, when one is due, when a signal asks to stop.

    Args:
        position: in the stage; kept up to date by ``fit``.
    """

    def __init__(
        self,
        run: ActiveRun,
        stage: Stage,
        optimizer: Mover,
        step: Step | Iteration,
        position: Position,
    ) -> None:
        self._run = run
        self._stage = stage
        self._optimizer = optimizer
        self._step = step
        self._position = position
        self._saved_at = time.monotonic()

    def restore(self, state: TrainState) -> None:
        """Restore what is the stage's own.

        Raises:
            CheckpointError: the state is of another optimizer.
        """
        restore_steps(self._optimizer, self._step, self._position, state)

    def free_steps(self) -> int:
        """How many steps may go on before a checkpoint is due, or one is shown or recorded."""
        run, steps = self._run, self._run.config.settings.checkpoint_steps
        free = min(run.console.free_steps(), run.tracking.free_steps(run.progress.step))
        since = run.progress.step - run.progress.saved_step
        return free if steps is None else min(free, steps - since)

    def after_step(self, terms: Terms, n: int) -> None:
        """Count steps, and save if a checkpoint is due or a signal asks to stop.

        Args:
            terms: of the last step.
            n: how many; no more than were free.

        Raises:
            Stopped: a signal has asked to; there is a checkpoint of this very step.
            BrokenError, DivergedError: a value is not finite; nothing is saved.
        """
        run = self._run
        run.progress.step += n
        run.console.step(terms, n)
        run.tracking.add_step(run.progress.step, terms)
        saves = run.stop.number is not None or self._due()
        if saves:
            self._step.sums.check()
            self.save(best=False)
        call(Call.GO_ON)
        if saves:
            run.stop.check()

    def save(self, *, best: bool) -> None:
        """Save a checkpoint, unless it would hold what was learnt of other data.

        Raises:
            ConfigError, MachineError: the data changed, or can no longer be read.
            DivergedError: a weight is not finite, or a moment of its gradients (the square of a
                gradient can overflow while weight and loss do not).
        """
        self._run.check_data()
        call(Call.STATE)
        broken = find_broken(self._optimizer)
        if broken is not None:
            when = f"by step {self._run.progress.step}"
            raise divergence(self._run, self._stage, f"{broken} became infinite or NaN {when}")
        self._run.folder.checkpoints.save(self._state(), best=best)
        self._run.progress.saved_step = self._run.progress.step
        self._saved_at = time.monotonic()

    def save_stage(self) -> None:
        """Save the end of the stage as a checkpoint of its own, under the stage's name."""
        self._run.folder.checkpoints.save_stage(self._stage.name, self._state())

    def _due(self) -> bool:
        settings, progress = self._run.config.settings, self._run.progress
        steps, minutes = settings.checkpoint_steps, settings.checkpoint_minutes
        if steps is not None and progress.step - progress.saved_step >= steps:
            return True
        return minutes is not None and time.monotonic() - self._saved_at >= 60.0 * minutes

    def _state(self) -> TrainState:
        run, position = self._run, self._position
        progress, training = run.progress, run.training
        return TrainState(
            config=run.config.as_dict(),
            data=run.made.fingerprint,
            model=whole_model(training.autoencoder, training.autoencoder.state_dict()),
            objectives={s.name: s.objective.state_dict() for s in training.stages},
            optimizer=whole_moments(self._stage, self._optimizer.state_dict()),
            sums=self._step.sums.state_dict(),
            order=position.order,
            noise=run.generators.noise.get_state(),
            stage=self._stage.name,
            stage_epoch=position.epoch,
            batch=position.batch,
            epoch=progress.epoch,
            step=progress.step,
            best_epoch=progress.best_epoch,
            best_loss=progress.best_loss,
            metrics=run.log.text,
            seconds=progress.seconds,
        )
