"""From a checked configuration to parts: the only place where names meet code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sae_cli.autoencoder import AutoEncoder
from sae_cli.config import RunConfig
from sae_cli.datasets import DATASETS, Dataset
from sae_cli.network import Network, labels_generator, network
from sae_cli.objective import Objective
from sae_cli.parts import Parts
from sae_cli.registry import ConfigError
from sae_cli.schedules import Stage
from sae_cli.supervision import Supervision, keep_labels

# Options of data sets that say where these lie.
PATHS = ("path", "root")


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


def dataset(config: RunConfig, *, download: bool = True) -> Dataset:
    """Read the data set, in the machine's memory.

    Args:
        download: whether it may be downloaded where the configuration says so.

    Raises:
        ConfigError: files are missing, damaged or unfit.
    """
    section = config.parts["dataset"]
    if section.get("download") is True and not download:
        section = section | {"download": False}
    data = DATASETS.build(section)
    return data.with_unit_norm() if config.settings.unit_norm else data


def located(config: RunConfig) -> RunConfig:
    """The configuration with the whole paths of its data, so that it holds in any folder."""
    section = config.parts["dataset"]
    given = {k: section[k] for k in PATHS if section.get(k) is not None}
    paths = {k: str(Path(path).expanduser().absolute()) for k, path in given.items()}
    return replace(config, parts=config.parts | {"dataset": section | paths})


def check_data(config: RunConfig, made: Parts, data: Dataset) -> None:
    """Refuse a data set whose values the parts cannot work with.

    Raises:
        ConfigError: with the ranges, and what would do.
    """
    source = f"dataset={config.parts['dataset']['name']} has values in {data.interval}"
    if not data.interval.within(made.reconstruction.targets):
        raise ConfigError(
            f"{source}, and reconstruction={config.parts['reconstruction']['name']} needs targets "
            f"in {made.reconstruction.targets}; choose reconstruction=mse or rescale the data "
            "(dataset=array has a divisor)"
        )
    if made.corruption is not None and not data.interval.within(made.corruption.requires):
        raise ConfigError(
            f"{source}, and corruption={config.parts['corruption']['name']} needs inputs in "
            f"{made.corruption.requires}; choose another corruption or rescale the data"
        )
    output = made.output
    if not data.interval.within(output.interval):
        raise ConfigError(
            f"{source}, which architecture.output_activation={output.name} cannot reach (it gives "
            f"{output.interval}); choose architecture.output_activation=identity or rescale the "
            "data"
        )
    if config.settings.batch_size > len(data.train):
        raise ConfigError(
            f"batch_size={config.settings.batch_size} is more than the {len(data.train)} training "
            "examples; give at most that many"
        )


def training(config: RunConfig, made: Parts, data: Dataset) -> Training:
    """Network and stages, on the device.

    Raises:
        ConfigError: the network does not fit the data.
    """
    settings, supervision = config.settings, made.supervision
    built = network(config, data.shape)
    built.saved.to(made.device.torch)
    penalty, weight = built.penalty, 0.0
    if penalty is not None:
        weight = penalty.weight / (settings.batch_size if penalty.divide_by_batch_size else 1)
    prediction = 0.0 if made.inference is None else made.inference.prediction_weight
    own = Objective(made.reconstruction, penalty, weight, prediction_weight=prediction)
    learning_rate = config.parts["optimizer"]["learning_rate"]
    stages = made.schedule.stages(built.autoencoder, own, settings.epochs, learning_rate)
    for stage in stages:
        # Layers may have penalties of their own.
        stage.objective.to(made.device.torch)
    if supervision is not None:
        whole = Objective(
            made.reconstruction,
            penalty,
            weight,
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
