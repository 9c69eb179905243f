"""From a checked configuration to parts: the only place where names meet code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator

from sae_cli.activations import ACTIVATIONS, Activation, Pointwise, activations_within
from sae_cli.architectures import ARCHITECTURES
from sae_cli.autoencoder import AutoEncoder
from sae_cli.config import RunConfig
from sae_cli.corruptions import CORRUPTIONS, Corruption
from sae_cli.datasets import DATASETS, Dataset
from sae_cli.devices import DEVICES
from sae_cli.gradients import Device
from sae_cli.loop import Generators
from sae_cli.objective import Objective
from sae_cli.penalties import PENALTIES, Penalty
from sae_cli.reconstruction import RECONSTRUCTIONS, Reconstruction
from sae_cli.registry import ConfigError
from sae_cli.schedules import SCHEDULES, Schedule, Stage
from sae_cli.shapes import DataShape

# Options of data sets that say where these lie.
PATHS = ("path", "root")


@dataclass(frozen=True)
class Parts:
    """The parts that are known before any data is read."""

    device: Device
    activation: Activation
    penalty: Penalty | None
    corruption: Corruption | None
    reconstruction: Reconstruction
    schedule: Schedule


@dataclass(frozen=True)
class Training:
    """A data set on its device, and the stages that train an auto-encoder on it."""

    dataset: Dataset
    autoencoder: AutoEncoder
    objective: Objective
    stages: list[Stage]


def parts(config: RunConfig) -> Parts:
    """Build what needs no data, and refuse what does not go together.

    Raises:
        ConfigError: with the reason, and what would do.
    """
    chosen = config.parts
    made = Parts(
        DEVICES.build(chosen["device"]),
        ACTIVATIONS.build(chosen["activation"]),
        PENALTIES.build(chosen["penalty"]),
        CORRUPTIONS.build(chosen["corruption"]),
        RECONSTRUCTIONS.build(chosen["reconstruction"]),
        SCHEDULES.build(chosen["schedule"]),
    )
    # A rehearsal on data of one feature shows what the architecture makes of its options.
    rehearsal = blueprint(config, DataShape((1,), None), made.activation)
    made.schedule.check(len(rehearsal.layers))
    hidden = [layer.activation for layer in rehearsal.layers[:-1]]
    inner = hidden if made.schedule.layer_by_layer else []
    _check_penalty(chosen["penalty"]["name"], made.penalty, made.activation, inner)
    _check_inner_corruption(chosen["corruption"]["name"], made.corruption, inner)
    _check_output(chosen, made.reconstruction)
    return made


def _check_penalty(
    name: str, penalty: Penalty | None, activation: Activation, inner: list[Activation]
) -> None:
    if penalty is None:
        return
    fitting = ", ".join(activations_within(penalty.requires))
    keyed = [("activation", activation)] + [("architecture.hidden_activations", a) for a in inner]
    for key, given in keyed:
        if not given.interval.within(penalty.requires):
            raise ConfigError(
                f"penalty={name} needs codes in {penalty.requires} ({penalty.reason}), and "
                f"{key}={given.name} gives {given.interval}; choose {key} from {fitting}, or "
                "another penalty"
            )


def _check_inner_corruption(
    name: str, corruption: Corruption | None, inner: list[Activation]
) -> None:
    for given in inner:
        if corruption is not None and not given.interval.within(corruption.requires):
            raise ConfigError(
                f"corruption={name} needs values in {corruption.requires}, and schedule=greedy "
                f"corrupts hidden codes too, which architecture.hidden_activations={given.name} "
                f"puts in {given.interval}; choose from "
                f"{', '.join(activations_within(corruption.requires))}, or another corruption"
            )


def _check_output(chosen: dict[str, dict[str, Any]], reconstruction: Reconstruction) -> None:
    output = chosen["architecture"]["output_activation"]
    allowed = reconstruction.output_activations
    if allowed and output not in allowed:
        raise ConfigError(
            f"reconstruction={chosen['reconstruction']['name']} needs "
            f"architecture.output_activation={' or '.join(allowed)}, given {output}; set it, or "
            "choose reconstruction=mse"
        )


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
    return DATASETS.build(section)


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
    output = Pointwise(config.parts["architecture"]["output_activation"])
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


def _streams(seed: int) -> list[Generator]:
    """Independent random streams of one seed, so that using one does not shift another."""
    children = np.random.SeedSequence(seed).spawn(3)
    return [torch.Generator().manual_seed(int(c.generate_state(1, np.uint64)[0])) for c in children]


def autoencoder(config: RunConfig, shape: DataShape, activation: Activation) -> AutoEncoder:
    """An auto-encoder with initial weights, on the CPU (the same there for every device)."""
    initial = _streams(config.settings.seed)[0]
    return ARCHITECTURES.build(config.parts["architecture"], shape, activation, initial)


def blueprint(config: RunConfig, shape: DataShape, activation: Activation) -> AutoEncoder:
    """The same auto-encoder on the meta device: names, shapes and types that take no memory."""
    with torch.device("meta"):
        return autoencoder(config, shape, activation)


def generators(config: RunConfig, device: Device) -> Generators:
    """The random streams of training, of the run's seed."""
    _, order, corruption = _streams(config.settings.seed)
    on_device = Generator(device.torch).manual_seed(corruption.initial_seed())
    return Generators(order, on_device)


def training(config: RunConfig, made: Parts, data: Dataset) -> Training:
    """Model, objective and stages, on the device."""
    settings = config.settings
    model = autoencoder(config, data.shape, made.activation).to(made.device.torch)
    weight = 0.0
    if made.penalty is not None:
        divisor = settings.batch_size if made.penalty.divide_by_batch_size else 1
        weight = made.penalty.weight / divisor
    objective = Objective(made.reconstruction, made.penalty, weight).to(made.device.torch)
    learning_rate = config.parts["optimizer"]["learning_rate"]
    stages = made.schedule.stages(model, objective, settings.epochs, learning_rate)
    return Training(data.to(made.device.torch), model, objective, stages)
