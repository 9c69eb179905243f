"""A training put together: network and data on their device, the stages and their objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import Any

from torch import Tensor, nn

from sae_cli.assembly.centre import set_bias_
from sae_cli.assembly.data import on_device
from sae_cli.assembly.latents import hold_latents_
from sae_cli.assembly.network import Network, build_network
from sae_cli.assembly.parts import Parts
from sae_cli.assembly.streams import streams_of
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.datasets import Dataset, Split
from sae_cli.model.activations.gated import Gated
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.gate import GateReconstruction
from sae_cli.model.head import UNLABELLED
from sae_cli.model.objective import Objective
from sae_cli.model.reconstruction import Nested
from sae_cli.training.corruptions import Corruption
from sae_cli.training.devices import Device
from sae_cli.training.heads import Supervision, keep_labels
from sae_cli.training.lr_schedules import LR_SCHEDULES, LrSchedule
from sae_cli.training.optimizers.lbfgs import iterations_of
from sae_cli.training.revivals import REVIVALS
from sae_cli.training.stage import Stage


@dataclass(frozen=True)
class Training:
    """All that is trained and all that it is trained with, on the device.

    Attributes:
        corruption: of the input, or None.
    """

    device: Device
    corruption: Corruption | None
    dataset: Dataset
    network: Network
    stages: list[Stage]

    @property
    def autoencoder(self) -> AutoEncoder:
        return self.network.autoencoder

    @property
    def objective(self) -> Objective:
        """The objective of the last stage."""
        return self.stages[-1].objective


def build_training(config: RunConfig, parts: Parts, data: Dataset) -> Training:
    """Make the network and the stages that train it, and move all to the device.

    Raises:
        ConfigError: the network does not fit the data.
    """
    device = parts.device.torch
    network = build_network(config, parts.network, data.shape)
    supervision = parts.network.supervision
    rows = None
    if supervision is not None and supervision.self_taught:
        rows = _without_labels(config, data.train)
    learnt_from = data.train if rows is None else replace(data.train, rows=rows)
    set_bias_(network.autoencoder, learnt_from)
    hold_latents_(config, network)
    network.saved.to(device)
    stages = _unsupervised_stages(config, parts, network, rows)
    if supervision is not None:
        whole = _objective(parts, network, supervision)
        stages += supervision.stages(network.autoencoder, whole)
    stages = _with_corruptions(parts, stages)
    for stage in stages:
        # Layers may have penalties of their own.
        stage.objective.to(device)
    moved = on_device(data, device)
    if supervision is not None:
        moved = _with_kept_labels(config, supervision, data, moved)
    return Training(parts.device, parts.corruption, moved, network, stages)


def _unsupervised_stages(
    config: RunConfig, parts: Parts, network: Network, rows: Tensor | None
) -> list[Stage]:
    chosen = config.parts["revival"]
    revival = REVIVALS.build(chosen, network.autoencoder, parts.reconstruction)
    further: dict[str, nn.Module] = {} if revival is None else {chosen["name"]: revival}
    stages = parts.schedule.stages(
        network.autoencoder,
        _objective(parts, network, None, further),
        config.settings.epochs,
        config.parts["optimizer"]["learning_rate"],
    )
    return [replace(stage, rows=rows) for stage in stages]


def _with_corruptions(parts: Parts, stages: list[Stage]) -> list[Stage]:
    """Give each stage the corruption of its input; classes alone are learnt from clean input,
    unless the head asks for a corrupted one."""
    supervision = parts.network.supervision
    clean = supervision is not None and not supervision.corrupted
    # Layers that are trained by themselves are the first stages.
    corruptions = chain(parts.layer_corruptions, repeat(parts.corruption))
    return [
        replace(stage, corruption=None if stage.supervised and clean else corruption)
        for stage, corruption in zip(stages, corruptions, strict=False)
    ]


def _objective(
    parts: Parts,
    network: Network,
    supervision: Supervision | None,
    further: Mapping[str, nn.Module] | None = None,
) -> Objective:
    """Make the objective of the whole network, with a head where labels supervise it."""
    inference = parts.network.inference
    if isinstance(network.autoencoder.activation, Gated):
        gate = GateReconstruction(network.autoencoder, parts.reconstruction.reduction)
        further = {"gate": gate, **(further or {})}
    reconstruction = parts.reconstruction
    if isinstance(reconstruction, Nested):
        reconstruction = reconstruction.for_network(network.autoencoder)
    return Objective(
        reconstruction,
        network.penalty,
        prediction_weight=0.0 if inference is None else inference.prediction_weight,
        head=None if supervision is None else network.head,
        head_weight=1.0 if supervision is None else supervision.weight,
        further=further,
    )


def _without_labels(config: RunConfig, train: Split) -> Tensor:
    """Give the rows of the examples that have no label, because the head does not learn theirs."""
    assert train.labels is not None
    rows = train.rows[train.labels[train.rows] == UNLABELLED]
    if not len(rows):
        raise ConfigError(
            f"head.classes={config.parts['head']['classes']} are all classes of the training data, "
            "and head.self_taught=true trains the auto-encoder on the others; leave some out, or "
            "give head.self_taught=false"
        )
    return rows


def _with_kept_labels(
    config: RunConfig, supervision: Supervision, data: Dataset, moved: Dataset
) -> Dataset:
    """Give data that were moved with as many labels as the head is to see."""
    train, n_classes = data.train, data.shape.n_classes
    if supervision.n_labels is None or train.labels is None or n_classes is None:
        return moved
    generator = streams_of(config.settings.seed).labels
    n_classes = n_classes if supervision.classes is None else len(supervision.classes)
    kept = keep_labels(train.labels, train.rows, supervision.n_labels, n_classes, generator)
    assert moved.train.labels is not None
    # Where values are streamed, labels are on the device all the same.
    kept = kept.to(moved.train.labels.device)
    return replace(moved, train=replace(moved.train, labels=kept))


def optimizer_section(config: RunConfig, stage: Stage) -> dict[str, Any]:
    """Give the name and options of the optimizer of a stage."""
    section = config.parts["optimizer"]
    if stage.weight_decay is None:
        return section
    return section | {"weight_decay": stage.weight_decay}


def steps_per_epoch(config: RunConfig, n_examples: int) -> int:
    """Count the batches of an epoch, the last of which may be smaller; or the iterations."""
    iterations = iterations_of(config.parts["optimizer"])
    return iterations or -(-n_examples // config.settings.batch_size)


def lr_schedule(config: RunConfig, stage: Stage, n_examples: int) -> LrSchedule:
    """Build the factor on the learning rate over the steps of the stage.

    Raises:
        ConfigError: the warm-up is longer than the stage.
    """
    total = steps_per_epoch(config, n_examples) * stage.epochs
    return LR_SCHEDULES.build(config.parts["lr_schedule"], total)
