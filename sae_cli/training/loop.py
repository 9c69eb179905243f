"""The loop: train one auto-encoder on one split, and evaluate it.

It knows nothing of configurations, paths or algorithms. Within an epoch only ``on_step`` may read
anything back from the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sae_cli.datasets.batch_rows import LONGEST, BatchRows, Stretch
from sae_cli.datasets.dataset import Split
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective, Terms
from sae_cli.training.devices import Device
from sae_cli.training.lr_schedules import LrSchedule
from sae_cli.training.metrics import Baseline, Metrics
from sae_cli.training.shares import Share, batches
from sae_cli.training.step import Step

# Batches of this size spend their time in products, not in calls, and fit any memory.
EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Generators:
    """The random streams of a training.

    Attributes:
        order: draws the order of examples, on the CPU so that it is the same on every device.
        noise: draws corruption and sampling, on the device.
    """

    order: Generator
    noise: Generator


@dataclass
class Position:
    """How far a training is.

    Attributes:
        epoch: epochs that are done.
        batch: batches of the next epoch that are done.
        order: the state of the generator of orders at the beginning of that epoch.
    """

    epoch: int
    batch: int
    order: Tensor


def fit(
    step: Step,
    split: Split,
    lr_schedule: LrSchedule,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    order: Generator,
    position: Position,
    on_step: Callable[[Terms, int], None],
    between_steps: Callable[[int, Tensor | BatchRows, Share | None], None] | None = None,
    free_steps: Callable[[int], int] = lambda done: 1,
) -> Iterator[dict[str, float]]:
    """Train, and after each epoch give the mean of every term over the epoch's examples.

    The means are taken while the weights move, on corrupted input where there is a corruption.

    Args:
        order: draws the order of the examples, on the CPU.
        position: where to start; kept up to date, so that training can resume from any step.
        on_step: called after each step, or after several at once, with the terms of the last and
            their number.
        between_steps: called before that with the number of steps of this training, and the rows
            of the last batch that are here.
        free_steps: how many steps may go on at once after so many of this training.

    Raises:
        BrokenError: a term of the loss is not finite; raised at the end of an epoch.
    """
    steps_per_epoch = -(-len(split) // batch_size)
    while position.epoch < epochs:
        position.order = order.get_state()
        shuffled = torch.randperm(len(split), generator=order)
        left = shuffled[position.batch * batch_size :]

        def at_once() -> int:
            return free_steps(position.epoch * steps_per_epoch + position.batch)

        given = at_once if step.gathers else None
        for target, own, share in batches(split, left, batch_size, step.joining, given):
            done = position.epoch * steps_per_epoch + position.batch
            n = LONGEST if isinstance(target, Stretch) else 1
            rates = [learning_rate * lr_schedule(done + i) for i in range(n)]
            if isinstance(target, Stretch):
                terms = step.repeat(target, rates)
                target = target.batches()[-1]
            else:
                terms = step(target, rates[0], own, share)
            position.batch += n
            if step.joining is not None:
                step.joining.agree()
            if between_steps is not None:
                between_steps(done + n, target, share)
            on_step(terms, n)
        means = step.sums.means(len(split))
        position.epoch, position.batch, position.order = position.epoch + 1, 0, order.get_state()
        yield means


@torch.inference_mode()
def evaluate(
    autoencoder: AutoEncoder,
    objective: Objective,
    split: Split,
    baseline: Baseline,
    device: Device,
) -> dict[str, float]:
    """Measure all terms and metrics over the whole split, without corruption or sampling.

    Penalties of a mean activity use the mean over the whole split; accuracy is that of the
    labelled examples.

    Returns:
        the terms and metrics by name.
    """
    activation = autoencoder.activation
    logistic = autoencoder.output_activation.name == "sigmoid"
    of_codes = autoencoder.n_held, activation.active_above
    metrics = Metrics(baseline, *of_codes, device.torch, logistic=logistic)
    sums: Terms = {}
    every = torch.arange(len(split))
    labels = split.shuffled_labels(every, EVALUATION_BATCH)
    # Nothing is read back from the device before the end.
    right = labelled = known = torch.zeros((), dtype=torch.int64, device=device.torch)
    for target, own in zip(split.batches(EVALUATION_BATCH), labels, strict=True):
        passed = device.run(autoencoder, target, sparsely=True)
        passed = passed._replace(logs=metrics.logs(passed))
        metrics.update(passed, target)
        if objective.head is not None and own is not None:
            right = right + objective.head.n_right(passed.codes, own)
            known = (own >= 0).sum()
            labelled = labelled + known
        for name, mean in objective.means(passed, target, own).items():
            # The head's mean is over the labelled examples alone.
            n = known if name == "head" else len(target)
            sums[name] = sums.get(name, 0.0) + mean.double() * n
    counts = {name: labelled if name == "head" else len(split) for name in sums}
    terms = objective.terms({name: value / counts[name] for name, value in sums.items()})
    result = {name: float(value) for name, value in terms.items()} | metrics.result()
    return result | ({"accuracy": int(right) / int(labelled)} if labelled else {})


@torch.no_grad()
def encode(below: AutoEncoder, split: Split, device: Device) -> Split:
    """Give the frozen codes that ``below`` passes on, as a split of their own."""
    passes = (device.run(below, x) for x in split.batches(EVALUATION_BATCH))
    codes = torch.cat([below.pass_on(passed.codes) for passed in passes])
    labels = None if split.labels is None else split.labels[split.rows]
    return Split(codes, torch.arange(len(codes), device=codes.device), labels)
