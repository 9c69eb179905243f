"""A network with initial weights, from a configuration and the shape of the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from sae_cli.assembly.streams import streams_of
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.head import Head
from sae_cli.model.inference import INFERENCES, Inference
from sae_cli.model.penalties import PENALTIES, Penalty
from sae_cli.model.penalties.activity import TargetPenalty
from sae_cli.model.penalties.roles import for_network
from sae_cli.training.heads import HEADS, Supervision


@dataclass(frozen=True)
class Network:
    """All that a run trains, and saves as its model.

    Attributes:
        penalty: on the auto-encoder's codes, or None; some penalties learn.
        head: a classifier of the codes, or None.
    """

    autoencoder: AutoEncoder
    penalty: Penalty | None
    head: Head | None

    @property
    def saved(self) -> nn.ModuleDict:
        """All parts under the names that their tensors are saved under."""
        others = {"penalty": self.penalty, "head": self.head}
        found = {name: module for name, module in others.items() if module is not None}
        return nn.ModuleDict({**dict(self.autoencoder.named_children()), **found})


@dataclass(frozen=True)
class NetworkParts:
    """The parts that a network is made of and works with, each built once."""

    activation: Activation
    penalty: Penalty | None
    inference: Inference | None
    supervision: Supervision | None


def build_network_parts(config: RunConfig) -> NetworkParts:
    """Build the parts that a configuration names.

    Raises:
        ConfigError: the options of one do not fit each other.
    """
    chosen = config.parts
    return NetworkParts(
        ACTIVATIONS.build(chosen["activation"]),
        _build_penalty(config),
        INFERENCES.build(chosen["inference"]),
        HEADS.build(chosen["head"]),
    )


def _build_penalty(config: RunConfig) -> Penalty | None:
    """Build the penalty with the weight that it has in the loss."""
    penalty = PENALTIES.build(config.parts["penalty"])
    if isinstance(penalty, TargetPenalty) and penalty.divide_by_batch_size:
        penalty.weight /= config.settings.batch_size
    return penalty


def check_target(config: RunConfig, autoencoder: AutoEncoder) -> None:
    """Raise ConfigError for a mean number of active latents that no new run can reach."""
    target = config.parts["penalty"].get("target_l0")
    activation, most = autoencoder.activation, autoencoder.n_latents
    what = f"the {most} latents"
    if isinstance(activation, TopK | BatchTopK):
        most = activation.k
        what = f"the activation.k={most} codes that activation={activation.name} keeps"
    if target is not None and target > most:
        raise ConfigError(
            f"penalty.target_l0={target:g} is more than {what}; give at most {most}, or more of "
            "them"
        )


def build_network(config: RunConfig, parts: NetworkParts, shape: DataShape) -> Network:
    """Make a network with initial weights, on the CPU so that every device has the same.

    Raises:
        ConfigError: its parts do not fit the data, or each other.
    """
    chosen, streams = config.parts, streams_of(config.settings.seed)
    autoencoder = ARCHITECTURES.build(
        chosen["architecture"], shape, parts.activation, streams.weights
    )
    fit_activation_(parts.activation, autoencoder)
    penalty = for_network(parts.penalty, autoencoder)
    if parts.inference is not None:
        of_each = parts.inference.check(chosen["penalty"]["name"], penalty)
        autoencoder.infer = partial(parts.inference, penalty=of_each)
    head = None
    if parts.supervision is not None:
        if shape.n_classes is None:
            raise ConfigError(
                f"head={chosen['head']['name']} needs labels, and "
                f"dataset={chosen['dataset']['name']} has none; choose head=none, or a data set "
                "with labels"
            )
        head = parts.supervision.build_head(autoencoder.n_latents, shape.n_classes, streams.head)
    return Network(autoencoder, penalty, head)


def fit_activation_(activation: Activation, autoencoder: AutoEncoder) -> None:
    """Fit an activation to the latents of a network and of its layers.

    Raises:
        ConfigError: it does not fit them.
    """
    every = (autoencoder, *autoencoder.layers)
    activation.fit_to_([one.n_latents for one in every if one.activation is activation])


def build_blueprint(config: RunConfig, parts: NetworkParts, shape: DataShape) -> Network:
    """Make the same network on the meta device: names, shapes and types that take no memory."""
    with torch.device("meta"):
        return build_network(config, parts, shape)
