"""A network with initial weights from a configuration, and the random streams of a training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from sae_cli.assembly.streams import _streams
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.head import Head
from sae_cli.model.inference import INFERENCES
from sae_cli.model.penalties import PENALTIES, Penalty
from sae_cli.model.penalties.activity import TargetPenalty
from sae_cli.model.penalties.roles import for_codes
from sae_cli.training.heads import HEADS


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


def network(config: RunConfig, shape: DataShape) -> Network:
    """A network with initial weights, on the CPU (the same there for every device).

    Raises:
        ConfigError: its parts do not fit the data, or each other.
    """
    chosen = config.parts
    initial, _, _, _, of_head = _streams(config.settings.seed)
    activation = ACTIVATIONS.build(chosen["activation"])
    autoencoder = ARCHITECTURES.build(chosen["architecture"], shape, activation, initial)
    penalty = for_codes(_penalty(config), autoencoder.code_shape)
    inference = INFERENCES.build(chosen["inference"])
    if inference is not None:
        of_each = inference.check(chosen["penalty"]["name"], penalty)
        autoencoder.infer = partial(inference, penalty=of_each)
    supervision = HEADS.build(chosen["head"])
    head = None
    if supervision is not None:
        if shape.n_classes is None:
            raise ConfigError(
                f"head={chosen['head']['name']} needs labels, and "
                f"dataset={chosen['dataset']['name']} has none; choose head=none, or a data set "
                "with labels"
            )
        head = supervision.head(autoencoder.n_latents, shape.n_classes, of_head)
    return Network(autoencoder, penalty, head)


def _penalty(config: RunConfig) -> Penalty | None:
    """The penalty with the weight that it has in the loss."""
    penalty = PENALTIES.build(config.parts["penalty"])
    if isinstance(penalty, TargetPenalty) and penalty.divide_by_batch_size:
        penalty.weight /= config.settings.batch_size
    return penalty


def blueprint(config: RunConfig, shape: DataShape) -> Network:
    """The same network on the meta device: names, shapes and types that take no memory."""
    with torch.device("meta"):
        return network(config, shape)
