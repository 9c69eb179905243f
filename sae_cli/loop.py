"""The loop: trains one auto-encoder on one split, and evaluates it.

It knows nothing of configurations, paths or algorithms. Nothing is read back from the device
within an epoch, except what ``on_step`` reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Generator

from sae_cli.autoencoder import AutoEncoder
from sae_cli.datasets.dataset import Split
from sae_cli.gradients import Device, Terms
from sae_cli.lr_schedules import LrSchedule
from sae_cli.metrics import Baseline, Metrics
from sae_cli.objective import Objective
from sae_cli.step import Step

# Large enough that the products, not the calls, take the time; small enough for any memory.
EVALUATION_BATCH = 1024


class DivergedError(Exception):
    """The loss is no longer a finite number.

    Args:
        terms: the terms of the loss by name.
        when: in the course of the training.
    """

    def __init__(self, terms: Mapping[str, float], when: str) -> None:
        broken = [name for name, value in terms.items() if not math.isfinite(value)]
        super().__init__(
            f"training diverged: {', '.join(broken)} became {terms[broken[0]]} {when}; try a lower "
            "optimizer.learning_rate or penalty.weight"
        )


@dataclass(frozen=True)
class Generators:
    """The random streams of a training: the order of examples (always drawn on the CPU, so that it
    is the same on every device) and the corruption (drawn on the device)."""

    order: Generator
    corruption: Generator


def fit(
    step: Step,
    split: Split,
    lr_schedule: LrSchedule,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    order: Generator,
    on_step: Callable[[Terms], None],
) -> Iterator[dict[str, float]]:
    """Train, and after each epoch give the mean of every term over the epoch's examples.

    The means are taken while the weights move, on corrupted input where there is a corruption.

    Args:
        order: draws the order of the examples, on the CPU.

    Raises:
        DivergedError: the loss of an epoch is not finite.
    """
    n_steps = 0
    for epoch in range(1, epochs + 1):
        shuffled = torch.randperm(len(split), generator=order)
        for target in split.shuffled(shuffled, batch_size):
            on_step(step(target, learning_rate * lr_schedule(n_steps)))
            n_steps += 1
        means = step.means(len(split))
        if not math.isfinite(means["loss"]):
            raise DivergedError(means, f"in epoch {epoch}")
        yield means


@torch.inference_mode()
def evaluate(
    autoencoder: AutoEncoder,
    objective: Objective,
    split: Split,
    baseline: Baseline,
    device: Device,
) -> dict[str, float]:
    """All terms and metrics over the whole split, without corruption.

    Penalties of a mean activity use the mean over the whole split.

    Returns:
        the terms and metrics by name.
    """
    activation = autoencoder.activation
    metrics = Metrics(baseline, autoencoder.n_latents, activation.active_above, device.torch)
    sums: Terms = {}
    for target in split.batches(EVALUATION_BATCH):
        passed = device.run(autoencoder, target)
        metrics.update(passed, target)
        for name, mean in objective.means(passed, target).items():
            sums[name] = sums.get(name, 0.0) + mean.double() * len(target)
    terms = objective.terms({name: value / len(split) for name, value in sums.items()})
    return {name: float(value) for name, value in terms.items()} | metrics.result()


@torch.no_grad()
def encode(below: AutoEncoder, split: Split, device: Device) -> Split:
    """The frozen codes of a split, as a split of their own."""
    codes = torch.cat([device.run(below, x).codes for x in split.batches(EVALUATION_BATCH)])
    labels = None if split.labels is None else split.labels[split.rows]
    return Split(codes, torch.arange(len(codes), device=codes.device), labels)
