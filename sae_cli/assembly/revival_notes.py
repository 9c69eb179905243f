"""Words on a revival of dead latents that does nothing, at the start of a run and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from sae_cli.assembly.stages import Training, steps_per_epoch
from sae_cli.config.schema import RunConfig
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.training.revivals.auxk import AuxK
from sae_cli.training.revivals.resample import Resample
from sae_cli.training.revivals.revival import Revival

# A pre-code as near above 0 as any.
JUST_ABOVE = 1e-30


def revival_notes(training: Training) -> list[str]:
    """Say, in one line, that the activation leaves a revival nothing to work with."""
    activation = training.autoencoder.activation
    further = [one for stage in training.stages for one in stage.objective.further.values()]
    # Above 0 these functions rise, so that where this is active no inactive pre-code is above 0.
    if (
        any(isinstance(one, AuxK) for one in further)
        and isinstance(activation, Pointwise)
        and float(activation(torch.tensor(JUST_ABOVE))) > activation.active_above
    ):
        return [
            "note: revival=auxk needs dead latents whose pre-codes are above 0, and activation="
            f"{activation.name} has none: try activation=topk, or revival=none"
        ]
    return []


def never_reviving(
    config: RunConfig, training: Training, final: Mapping[str, Any]
) -> Iterator[str]:
    """Say that latents are dead, and why a revival never acted on them."""
    seen = steps = 0
    revival: Revival | None = None
    for stage in training.stages:
        for one in stage.objective.further.values():
            if isinstance(one, Revival):
                revival, n = one, len(stage.examples(training.dataset.train))
                seen += stage.epochs * n
                steps = max(steps, stage.epochs * steps_per_epoch(config, n))
    # What could do nothing was spoken of at the start.
    if revival is None or not seen or not final["train/dead_latents"] or revival_notes(training):
        return
    never = f"revival={config.parts['revival']['name']} never acted, because"
    if seen < revival.dead_after:
        yield (
            f"{never} a latent counts as dead after revival.dead_after={revival.dead_after} "
            f"examples, and {seen} were trained on: try more epochs or a smaller revival.dead_after"
        )
    elif isinstance(revival, Resample) and steps < revival.every:
        yield (
            f"{never} it acts every revival.every={revival.every} steps, and there were "
            f"{steps}: try more epochs or a smaller revival.every"
        )
