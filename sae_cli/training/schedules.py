"""Schedules: the stages in which an auto-encoder is trained.

A stage is an ordinary auto-encoder with its own objective, epochs and learning rate, trained on
the data or on the frozen codes from below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Count, NonNegative, Positive
from sae_cli.core.registry import Registry
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.roles import for_network
from sae_cli.model.reconstruction import MSE, Reconstruction
from sae_cli.training.stage import Stage

SCHEDULES: Registry[Schedule] = Registry("schedule")


class Schedule(ABC):
    """A plan of the stages of a run.

    Attributes:
        layer_by_layer: whether hidden layers are trained as auto-encoders of their own; then
            penalty and corruption must suit their codes too.
        layer_corruptions: how much the input of each of them is corrupted; None for as much as
            that of the whole network.
    """

    layer_by_layer: bool
    layer_corruptions: list[NonNegative] | None = None

    @abstractmethod
    def check(self, n_layers: int) -> None:
        """Raise ConfigError unless the schedule suits this number of layers."""

    @abstractmethod
    def stages(
        self, autoencoder: AutoEncoder, objective: Objective, epochs: int, learning_rate: float
    ) -> list[Stage]:
        """Make the stages of the auto-encoder itself; the last of them trains all of it."""


@final
@SCHEDULES.register("joint")
class Joint(Schedule):
    """One stage that trains all layers at once."""

    layer_by_layer = False

    def check(self, n_layers: int) -> None:
        """Any number will do."""

    def stages(
        self, autoencoder: AutoEncoder, objective: Objective, epochs: int, learning_rate: float
    ) -> list[Stage]:
        return [Stage("joint", autoencoder, objective, (), epochs, learning_rate)]


@final
@SCHEDULES.register("none")
class Untrained(Schedule):
    """No stages: only a head trains the encoder, from its initial weights."""

    layer_by_layer = False

    def check(self, n_layers: int) -> None:
        """Any number will do."""

    def stages(
        self, autoencoder: AutoEncoder, objective: Objective, epochs: int, learning_rate: float
    ) -> list[Stage]:
        return []


@final
@SCHEDULES.register("greedy")
class Greedy(Schedule):
    """Layer by layer, then all together (Bengio et al. 2007).

    Each layer is an auto-encoder that reconstructs the frozen codes from below. Codes are not
    probabilities, so the second and later layers reconstruct by squared error. Then the layers are
    unrolled into one network and fine-tuned.
    """

    layer_by_layer = True

    def __init__(
        self,
        *,
        layer_epochs: list[Count],
        layer_learning_rates: list[Positive],
        layer_corruptions: list[NonNegative] | None = None,
    ) -> None:
        self.layer_epochs = layer_epochs
        self.layer_learning_rates = layer_learning_rates
        self.layer_corruptions = layer_corruptions

    def check(self, n_layers: int) -> None:
        """Raise ConfigError unless there are several layers, and lists of a length that fits."""
        if n_layers < 2:
            raise ConfigError(
                "schedule=greedy stacks layers, and this architecture has fewer than two that can "
                "be trained by themselves; give architecture=dense some architecture.hidden_sizes, "
                "give conv or conv_group more architecture.channels, or choose schedule=joint"
            )
        for key, given in (
            ("layer_epochs", self.layer_epochs),
            ("layer_learning_rates", self.layer_learning_rates),
            ("layer_corruptions", self.layer_corruptions),
        ):
            if given is not None and len(given) not in {1, n_layers}:
                raise ConfigError(
                    f"schedule.{key}={given}: give one number, or one for each of the {n_layers} "
                    "layers"
                )

    def stages(
        self, autoencoder: AutoEncoder, objective: Objective, epochs: int, learning_rate: float
    ) -> list[Stage]:
        layers = autoencoder.layers
        first = objective.reconstruction
        assert first is not None
        on_codes = MSE(reduction=first.reduction)
        stages = [
            Stage(
                f"layer_{i + 1}",
                layer,
                _of_layer(objective, layer, first if i == 0 else on_codes),
                layers[:i],
                self.layer_epochs[i if len(self.layer_epochs) > 1 else 0],
                self.layer_learning_rates[i if len(self.layer_learning_rates) > 1 else 0],
                learning_rate_key="schedule.layer_learning_rates",
            )
            for i, layer in enumerate(layers)
        ]
        fine_tune = Stage("fine_tune", autoencoder, objective, (), epochs, learning_rate)
        return [*stages, fine_tune]


def _of_layer(
    objective: Objective, layer: AutoEncoder, reconstruction: Reconstruction
) -> Objective:
    """Make the objective of one layer, with a penalty on that layer's codes."""
    return Objective(reconstruction, for_network(objective.penalty, layer))
