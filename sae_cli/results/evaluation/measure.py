"""The metrics of a model on a split, and how often each latent is active: one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sae_cli.core.shapes import Interval
from sae_cli.results.evaluation.latent_units import LatentUnits
from sae_cli.results.evaluation.subject import Subject
from sae_cli.training.loop import EVALUATION_BATCH
from sae_cli.training.metrics import BASELINE_BATCH, Baseline, Metrics

# A latent that more than this share of the examples activate seldom stands for one thing.
DENSE_ABOVE = 0.1


@dataclass(frozen=True)
class Measured:
    """What a pass over a split has found.

    Attributes:
        baseline: of the split's own values.
        metrics: by name.
        span: of the values that the model saw.
        n_active: the number of examples that activate each latent, ``(n_latents,)``.
        units: of the latents of a variational auto-encoder; None for others.
    """

    baseline: Baseline
    metrics: dict[str, Any]
    span: Interval
    n_active: Tensor
    units: LatentUnits | None


@torch.inference_mode()
def measure(subject: Subject) -> Measured:
    """Measure all metrics over the whole split, summed in float64, without corruption or sampling.

    They are those that a run ends with, ``dense_latents``, and ``accuracy`` where a head was
    trained and there are labels.
    """
    run, split = subject.run, subject.examples
    model, head = run.autoencoder, run.network.head
    baseline = Baseline.of(split.batches(BASELINE_BATCH))
    logistic = model.output_activation.name == "sigmoid"
    of_codes = run.n_latents, model.activation.active_above
    found = Metrics(baseline, *of_codes, run.device, logistic=logistic)
    active = torch.zeros(run.n_latents, dtype=torch.int64, device=run.device)
    units = LatentUnits(run.n_latents) if model.activation.samples else None
    low, high, right, labelled = math.inf, -math.inf, 0, 0
    labels = split.shuffled_labels(torch.arange(len(split)), EVALUATION_BATCH)
    for seen, own in zip(subject.batches(split), labels, strict=True):
        ends: Any = seen.aminmax()
        low, high = min(low, float(ends.min)), max(high, float(ends.max))
        passed = model(seen)
        found.update(passed, seen)
        active += _count_active(passed.codes, model.activation.active_above)
        if units is not None:
            units.update(passed.pre_codes)
        if head is not None and own is not None:
            right += int(head.n_right(passed.codes, own.to(run.device)))
            labelled += int((own >= 0).sum())
    metrics: dict[str, Any] = found.result()
    metrics["dense_latents"] = int((active > DENSE_ABOVE * len(split)).sum())
    if labelled:
        metrics["accuracy"] = right / labelled
    return Measured(baseline, metrics, Interval(low, high), active.cpu(), units)


def _count_active(codes: Tensor, active_above: float) -> Tensor:
    return (codes.abs() > active_above).sum(0)
