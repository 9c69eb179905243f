"""The parts of a run that need no data, and whether they go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator

from sae_cli.assembly.classifier import check_classifier
from sae_cli.assembly.layer_corruptions import build_layer_corruptions
from sae_cli.assembly.network import NetworkParts, build_network_parts, fit_activation_
from sae_cli.assembly.whole_set import check_whole_set
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import activations_within
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.penalties import Penalty
from sae_cli.model.penalties.roles import OfNetwork, OfSamples
from sae_cli.model.reconstruction import RECONSTRUCTIONS, Nested, Reconstruction
from sae_cli.trackers.tracker import check_installed
from sae_cli.training.corruptions import CORRUPTIONS, Corruption
from sae_cli.training.devices import DEVICES, Device
from sae_cli.training.revivals import REVIVALS
from sae_cli.training.schedules import SCHEDULES, Schedule

# A network is rehearsed on images of these sides; one of them suits its fields and pools (840 is
# divisible by 2 to 8).
SIDES = (64, 840, 1024)


@dataclass(frozen=True)
class Parts:
    """The parts of a run, each built once and before any data is read.

    Attributes:
        network: those that the network is made of.
        output: the output activation of the architecture.
        layer_corruptions: of layers that are trained by themselves, where each has its own.
    """

    device: Device
    network: NetworkParts
    corruption: Corruption | None
    reconstruction: Reconstruction
    schedule: Schedule
    output: Activation
    layer_corruptions: tuple[Corruption, ...]


def build_parts(config: RunConfig) -> Parts:
    """Build what needs no data, and refuse what does not go together.

    Raises:
        ConfigError: with the reason, and what would do.
    """
    check_installed(config.settings.logger)
    chosen = config.parts
    network = build_network_parts(config)
    corruption = CORRUPTIONS.build(chosen["corruption"])
    schedule = SCHEDULES.build(chosen["schedule"])
    # A rehearsal shows what the architecture makes of its options, before the data are known.
    rehearsal = _rehearse(chosen["architecture"], network.activation)
    _check_activation(chosen["architecture"], network.activation, rehearsal)
    schedule.check(len(rehearsal.layers))
    made = Parts(
        DEVICES.build(chosen["device"]),
        network,
        corruption,
        RECONSTRUCTIONS.build(chosen["reconstruction"]),
        schedule,
        rehearsal.output_activation,
        build_layer_corruptions(chosen["corruption"], corruption, schedule, len(rehearsal.layers)),
    )
    _check_penalised(network.penalty, rehearsal, made.schedule)
    hidden = [layer.activation for layer in rehearsal.layers[:-1]]
    inner = hidden if made.schedule.layer_by_layer else []
    _check_penalty(chosen["penalty"]["name"], network.penalty, network.activation, inner)
    _check_inner_corruption(chosen["corruption"]["name"], made.corruption, inner)
    _check_output(chosen["reconstruction"]["name"], made.reconstruction, made.output.name)
    if isinstance(made.reconstruction, Nested):
        made.reconstruction.check(rehearsal)
    _check_inference(chosen, network, rehearsal)
    check_classifier(config, network)
    _check_revival(chosen, made, rehearsal)
    check_whole_set(config, network)
    return made


def _rehearse(section: dict[str, Any], activation: Activation) -> AutoEncoder:
    """Build the network for the first side that suits it.

    Raises:
        ConfigError: that of the first side, if none does.
    """
    errors = []
    for side in SIDES:
        try:
            with torch.device("meta"):
                shape = DataShape((1, side, side), 10)
                return ARCHITECTURES.build(section, shape, activation, Generator("cpu"))
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _check_activation(section: dict[str, Any], activation: Activation, model: AutoEncoder) -> None:
    """Refuse an activation that does not fit the network, as far as this is known without data."""
    # How many latents there are to choose from is up to the data, unless it is given.
    chooses = isinstance(activation, TopK | BatchTopK)
    if section.get("n_latents") is not None or not chooses:
        with torch.device("meta"):
            fit_activation_(activation, model)


def _check_penalised(penalty: Penalty | None, model: AutoEncoder, schedule: Schedule) -> None:
    """Refuse a penalty that needs what the network, or a layer trained by itself, lacks."""
    if isinstance(penalty, OfNetwork):
        for penalised in (model, *(model.layers if schedule.layer_by_layer else ())):
            penalty.for_network(penalised)


def _check_penalty(
    name: str, penalty: Penalty | None, activation: Activation, inner: list[Activation]
) -> None:
    if penalty is None:
        return
    fitting = ", ".join(activations_within(penalty.requires))
    keyed = [("activation", activation)] + [("architecture.hidden_activations", a) for a in inner]
    for key, given in keyed:
        if isinstance(penalty, OfSamples) and not given.samples:
            raise ConfigError(
                f"penalty={name} needs codes that are drawn from a distribution, and {key}="
                f"{given.name} draws none; choose activation=gaussian and schedule=joint, or "
                "another penalty"
            )
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
                f"puts in {given.interval}; choose architecture.hidden_activations from "
                f"{', '.join(activations_within(corruption.requires))}, or another corruption"
            )


def _check_output(name: str, reconstruction: Reconstruction, output: str) -> None:
    allowed = reconstruction.output_activations
    if allowed and output not in allowed:
        raise ConfigError(
            f"reconstruction={name} needs "
            f"architecture.output_activation={' or '.join(allowed)}, given {output}; set it, or "
            "choose reconstruction=mse"
        )


def _check_inference(
    chosen: dict[str, dict[str, Any]], made: NetworkParts, model: AutoEncoder
) -> None:
    if made.inference is None:
        if not list(model.encoder.parameters()):
            raise ConfigError(
                f"architecture={chosen['architecture']['name']} has no encoder, and inference=none "
                "infers no codes; choose inference=fista, or architecture=dense"
            )
        return
    name = f"inference={chosen['inference']['name']}"
    if made.penalty is not None and made.penalty.of != "codes":
        raise ConfigError(
            f"{name} weighs the reconstruction against a penalty on codes, and "
            f"penalty={chosen['penalty']['name']} is not one; choose penalty=l1, or another"
        )
    if model.linear_decoder() is None:
        raise ConfigError(
            f"{name} needs a decoder of one linear layer, and "
            f"architecture={chosen['architecture']['name']} has another one here; choose "
            "architecture=dictionary, or architecture=dense with architecture.hidden_sizes=[]"
        )
    if chosen["reconstruction"] != {"name": "mse", "reduction": "sum"}:
        raise ConfigError(
            f"{name} minimises the squared error summed over features; choose reconstruction=mse "
            "and reconstruction.reduction=sum"
        )
    if model.output_activation.name != "identity":
        raise ConfigError(
            f"{name} needs architecture.output_activation=identity, given "
            f"{model.output_activation.name}"
        )
    if made.activation.samples:
        raise ConfigError(
            f"{name} finds the codes, and activation={made.activation.name} draws them; choose "
            "inference=none or another activation"
        )


def _check_revival(chosen: dict[str, dict[str, Any]], made: Parts, model: AutoEncoder) -> None:
    with torch.device("meta"):
        revival = REVIVALS.build(chosen["revival"], model, made.reconstruction)
    if revival is not None and made.network.inference is not None:
        raise ConfigError(
            f"revival={chosen['revival']['name']} trains the encoder of dead latents, and "
            f"inference={chosen['inference']['name']} finds codes without it; choose "
            "revival=none or inference=none"
        )
