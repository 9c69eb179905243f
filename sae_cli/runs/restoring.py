"""How what a checkpoint holds comes back into a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sae_cli.assembly.stages import Training
from sae_cli.core.errors import CheckpointError
from sae_cli.run_folder.train_state import TrainState
from sae_cli.training.iterations import Iteration
from sae_cli.training.loop import Generators, Position
from sae_cli.training.optimizers import Mover
from sae_cli.training.step import Step

# PyTorch raises these for the state of another network, or a forged one.
MISFITS = (RuntimeError, TypeError, ValueError, KeyError, AttributeError, OverflowError)


@contextmanager
def refuse_misfits() -> Iterator[None]:
    """Raise a CheckpointError in place of PyTorch's error for a state that does not fit."""
    try:
        yield
    except MISFITS as error:
        text = " ".join(str(error).split())
        raise CheckpointError(
            f"the checkpoint does not fit what the configuration builds: {text}"
        ) from None


def restore_training(training: Training, generators: Generators, state: TrainState) -> None:
    """Restore what all stages share: the network, what objectives have learned, random streams.

    Raises:
        CheckpointError: the state is of another network.
    """
    with refuse_misfits():
        training.autoencoder.load_state_dict(state.model)
        for stage in training.stages:
            stage.objective.load_state_dict(state.objectives[stage.name])
        generators.order.set_state(state.order)
        generators.noise.set_state(state.noise)


def restore_steps(
    optimizer: Mover, step: Step | Iteration, position: Position, state: TrainState
) -> None:
    """Restore what is a stage's own.

    Raises:
        CheckpointError: the state is of another optimizer.
    """
    with refuse_misfits():
        optimizer.load_state_dict(state.optimizer)
        step.sums.load_state_dict(state.sums)
    position.epoch, position.batch, position.order = state.stage_epoch, state.batch, state.order
