"""From a checked configuration to parts: the only place where names meet code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sae_cli.assembly.network import Network, network
from sae_cli.assembly.parts import Parts
from sae_cli.assembly.streams import labels_generator
from sae_cli.config.schema import RunConfig
from sae_cli.datasets import Dataset
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.training.heads import Supervision, keep_labels
from sae_cli.training.lr_schedules import LR_SCHEDULES, LrSchedule
from sae_cli.training.stage import Stage


@dataclass(frozen=True)
class Training:
    """A data set on its device, and the stages that train a network on it."""

    dataset: Dataset
    network: Network
    stages: list[Stage]

    @property
    def autoencoder(self) -> AutoEncoder:
        return self.network.autoencoder

    @property
    def objective(self) -> Objective:
        """Of the last stage."""
        return self.stages[-1].objective


def build_training(config: RunConfig, made: Parts, data: Dataset) -> Training:
    """Network and stages, on the device.

    Raises:
        ConfigError: the network does not fit the data.
    """
    settings, supervision = config.settings, made.supervision
    built = network(config, data.shape)
    built.saved.to(made.device.torch)
    prediction = 0.0 if made.inference is None else made.inference.prediction_weight
    own = Objective(made.reconstruction, built.penalty, prediction_weight=prediction)
    learning_rate = config.parts["optimizer"]["learning_rate"]
    stages = made.schedule.stages(built.autoencoder, own, settings.epochs, learning_rate)
    for stage in stages:
        # Layers may have penalties of their own.
        stage.objective.to(made.device.torch)
    if supervision is not None:
        whole = Objective(
            made.reconstruction,
            built.penalty,
            prediction_weight=prediction,
            head=built.head,
            head_weight=supervision.weight,
        )
        stages += supervision.stages(built.autoencoder, whole)
        data = _with_kept_labels(config, supervision, data)
    return Training(data.to(made.device.torch), built, stages)


def _with_kept_labels(config: RunConfig, supervision: Supervision, data: Dataset) -> Dataset:
    train, n_classes = data.train, data.shape.n_classes
    if supervision.n_labels is None or train.labels is None or n_classes is None:
        return data
    generator = labels_generator(config)
    kept = keep_labels(train.labels, train.rows, supervision.n_labels, n_classes, generator)
    return replace(data, train=replace(train, labels=kept))


def steps_per_epoch(config: RunConfig, n_examples: int) -> int:
    """The last batch may be smaller."""
    return -(-n_examples // config.settings.batch_size)


def lr_schedule(config: RunConfig, stage: Stage, n_examples: int) -> LrSchedule:
    """The factor on the learning rate over the steps of the stage.

    Raises:
        ConfigError: the warm-up is longer than the stage.
    """
    total = steps_per_epoch(config, n_examples) * stage.epochs
    return LR_SCHEDULES.build(config.parts["lr_schedule"], total)
