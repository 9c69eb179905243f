"""What the steps of a stage are made of: its data, its optimizer, and the step itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.prepare import Prepared
from sae_cli.assembly.stages import Training, lr_schedule, optimizer_section, steps_per_epoch
from sae_cli.core.ranks.together import together
from sae_cli.core.signals import Stop
from sae_cli.datasets import Split
from sae_cli.model.objective import Terms
from sae_cli.model.rates import rates_of
from sae_cli.runs.slices import is_held
from sae_cli.training.gradients.over_split import OverSplit
from sae_cli.training.iterations import Iteration, fit_whole
from sae_cli.training.loop import Generators, Position, encode, fit
from sae_cli.training.optimizers import OPTIMIZERS, Mover, Optimizer
from sae_cli.training.optimizers.lbfgs import LBFGS, iterations_of
from sae_cli.training.resampling import free_steps as free_before_resampling
from sae_cli.training.resampling import resampling
from sae_cli.training.shares import Joining, OfLatents, OfRows
from sae_cli.training.stage import Stage
from sae_cli.training.step import Step


def splits_of(training: Training, stage: Stage) -> tuple[Split, Split]:
    """Give what a stage trains and validates on: the data, or the frozen codes of the stages
    below."""
    train, val = stage.examples(training.dataset.train), training.dataset.val
    for below in stage.below:
        train = encode(below, train, training.device)
        val = encode(below, val, training.device)
    if stage.objective.head is None:
        return replace(train, labels=None), replace(val, labels=None)
    return train, val


def build_step(
    made: Prepared, stage: Stage, train: Split, generators: Generators, stop: Stop
) -> tuple[Mover, Step | Iteration]:
    """Build the optimizer of a stage, and its step.

    Args:
        train: what the stage trains on.
        stop: of this process; where several share the batches, they tell each other of it.
    """
    config, training = made.config, made.training
    section = optimizer_section(config, stage)
    joining = _joining(stage, stop)
    if iterations_of(section):
        return _build_iteration(made, stage, train, joining)
    gradients = build_gradients(config, training.device, stage)
    optimizer = OPTIMIZERS.build(section, gradients.parameters)
    assert isinstance(optimizer, Optimizer)
    optimizer.rates = rates_of(stage.autoencoder, gradients.parameters)
    # A classifier sees the means of sampled codes, in training as in use.
    samples = stage.autoencoder.activation.samples and not stage.supervised
    step = Step(
        gradients,
        optimizer,
        stage.corruption,
        generators.noise,
        config.settings.batch_size,
        clip_norm=config.settings.clip_norm,
        n_sampled=stage.autoencoder.n_latents if samples else 0,
        after=stage.objective.after_step_,
        joining=joining,
    )
    return optimizer, step


def _joining(stage: Stage, stop: Stop) -> Joining | None:
    ranks = together()
    if ranks is None:
        return None
    return OfRows(ranks, stop) if ranks.shares == "rows" else OfLatents(ranks, stop, is_held(stage))


def _build_iteration(
    made: Prepared, stage: Stage, train: Split, joining: Joining | None
) -> tuple[Mover, Iteration]:
    gradients = OverSplit(
        stage.autoencoder,
        stage.objective,
        made.training.device,
        train,
        made.config.settings.batch_size,
        stage.trained,
        joining,
    )
    optimizer = OPTIMIZERS.build(optimizer_section(made.config, stage), gradients.parameters)
    assert isinstance(optimizer, LBFGS)
    return optimizer, Iteration(gradients, optimizer)


def take_steps(
    made: Prepared,
    stage: Stage,
    optimizer: Mover,
    step: Step | Iteration,
    train: Split,
    *,
    generators: Generators,
    position: Position,
    on_step: Callable[[Terms, int], None],
    free_steps: Callable[[], int] = lambda: 1,
) -> Iterator[dict[str, float]]:
    """Train a stage from a position on, as ``fit`` does.

    Args:
        free_steps: how many steps ``on_step`` need not be told of one by one.
    """
    if isinstance(step, Iteration):
        return fit_whole(
            step,
            learning_rate=stage.learning_rate,
            epochs=stage.epochs,
            iterations=steps_per_epoch(made.config, len(train)),
            position=position,
            on_step=on_step,
        )
    settings = made.config.settings

    def free(done: int) -> int:
        due = free_before_resampling(stage, done)
        return free_steps() if due is None else min(free_steps(), due)

    return fit(
        step,
        train,
        lr_schedule(made.config, stage, len(train)),
        learning_rate=stage.learning_rate,
        epochs=stage.epochs,
        batch_size=settings.batch_size,
        order=generators.order,
        position=position,
        on_step=on_step,
        between_steps=resampling(stage, optimizer, made.training.device, generators.noise),
        free_steps=free,
    )
