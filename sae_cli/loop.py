"""The loop: trains one auto-encoder on one split, and evaluates it.

It knows nothing of configurations, paths or algorithms. Nothing is read back from the device
within an epoch, except what ``on_step`` reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from sae_cli.autoencoder import AutoEncoder, Pass
from sae_cli.corruptions import Corruption
from sae_cli.datasets.dataset import Split
from sae_cli.metrics import Baseline, Metrics
from sae_cli.objective import Objective
from sae_cli.optimizers import LrSchedule

# Large enough that the products, not the calls, take the time; small enough for any memory.
EVALUATION_BATCH = 1024

Terms = dict[str, Tensor]


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
class Device:
    """Where and how precisely to compute.

    Attributes:
        torch: the device.
        bfloat16: run the auto-encoder under bfloat16 autocast; losses stay float32.
    """

    torch: torch.device
    bfloat16: bool = False

    def run(self, autoencoder: AutoEncoder, x: Tensor) -> Pass:
        """One forward pass, its results in float32."""
        if not self.bfloat16:
            passed: Pass = autoencoder(x)
            return passed
        with torch.autocast(self.torch.type, torch.bfloat16):
            passed = autoencoder(x)
        return Pass(*(made.float() for made in passed))


@dataclass(frozen=True)
class Generators:
    """The random streams of a training: the order of examples (always drawn on the CPU, so that it
    is the same on every device) and the corruption (drawn on the device)."""

    order: Generator
    corruption: Generator


def fit(
    autoencoder: AutoEncoder,
    objective: Objective,
    optimizer: Optimizer,
    lr_schedule: LrSchedule,
    split: Split,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    corruption: Corruption | None,
    generators: Generators,
    device: Device,
    on_step: Callable[[Terms], None],
) -> Iterator[dict[str, float]]:
    """Train, and after each epoch give the mean of every term over the epoch's examples.

    The means are taken while the weights move, on corrupted input where there is a corruption.

    Raises:
        DivergedError: the loss of an epoch is not finite.
    """
    step = 0
    for epoch in range(1, epochs + 1):
        shuffled = torch.randperm(len(split), generator=generators.order)
        sums: Terms = {}
        order = split.rows[shuffled.to(split.rows.device)]
        for rows in torch.split(order, batch_size):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * lr_schedule(step)
            target = split.values(rows)
            x = target if corruption is None else corruption(target, generators.corruption)
            terms: Terms = objective(device.run(autoencoder, x), target)
            optimizer.zero_grad()
            terms["loss"].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            for name, value in terms.items():
                sums.setdefault(name, torch.zeros_like(value, dtype=torch.float64))
                sums[name].add_(value.detach(), alpha=len(rows))
            on_step(terms)
            step += 1
        means = {name: float(value) / len(split) for name, value in sums.items()}
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
