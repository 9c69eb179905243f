"""When dead latents are drawn anew: between steps, from the whole batch of the step before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from sae_cli.core.ranks.together import together
from sae_cli.datasets.batch_rows import BatchRows, values_of
from sae_cli.training.devices import Device
from sae_cli.training.optimizers import Mover, Optimizer
from sae_cli.training.revivals.resample import Resample
from sae_cli.training.shares import Share
from sae_cli.training.stage import Stage

BetweenSteps = Callable[[int, Tensor | BatchRows, Share | None], None]


def resampling(
    stage: Stage, optimizer: Mover, device: Device, generator: Generator
) -> BetweenSteps | None:
    """Give what draws dead latents of a stage anew between its steps; None if nothing does.

    Where several processes share a batch, each has all its rows and their errors from the others,
    and draws the same ones.

    Args:
        generator: draws the examples, on the device.
    """
    resample = _resample_of(stage)
    if resample is None:
        return None
    assert isinstance(optimizer, Optimizer)

    def between_steps(step: int, batch: Tensor | BatchRows, share: Share | None) -> None:
        if resample.is_due(step):
            target = values_of(batch)
            with torch.no_grad():
                passed = device.run(stage.autoencoder, target, training=True)
            x, x_hat = target.flatten(1), passed.x_hat.flatten(1)
            errors = (x - x_hat).square().sum(1)
            resample.resample_(_of_batch(x, share), _of_batch(errors, share), optimizer, generator)

    return between_steps


def free_steps(stage: Stage, done: int) -> int | None:
    """How many steps may go on after so many before dead latents may be due; None if none are."""
    resample = _resample_of(stage)
    return None if resample is None else resample.every - done % resample.every


def _resample_of(stage: Stage) -> Resample | None:
    further = stage.objective.further.values()
    return next((one for one in further if isinstance(one, Resample)), None)


def _of_batch(own: Tensor, share: Share | None) -> Tensor:
    """Give the rows of the whole batch, of which every process has some, or all."""
    ranks = together()
    if ranks is None or share is None or len(own) == share.n:
        return own
    # The rows of the others are 0 in it, and change no bit.
    rows = share.among_all(own)
    return ranks.sum(rows.flatten()).view_as(rows)
