"""Revival of dead latents: those active in none of the last ``dead_after`` training examples."""

from __future__ import annotations

from abc import ABC

import torch
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.ranks.together import of_all, rows_of_batch
from sae_cli.core.registry import Registry
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.further import Watcher
from sae_cli.model.reconstruction import Reconstruction

REVIVALS: Registry[Revival | None] = Registry("revival")


class Revival(nn.Module, Watcher, ABC):
    """A count, for each latent, of the examples since it was last active.

    Args:
        autoencoder: whose latents are revived.
        dead_after: examples without activity that make a latent dead.

    Attributes:
        idle: ``(n_latents,)`` int64, examples since the latent was last active or revived.
        revived: int64, latents that were dead and became active, or were drawn anew, since the last
            report.
    """

    def __init__(self, autoencoder: AutoEncoder, dead_after: int) -> None:
        super().__init__()
        self.dead_after = dead_after
        self.active_above = autoencoder.activation.active_above
        self.idle: Tensor
        self.register_buffer("idle", torch.zeros(autoencoder.n_latents, dtype=torch.int64))
        self.revived: Tensor
        self.register_buffer("revived", torch.zeros((), dtype=torch.int64))

    @property
    def dead(self) -> Tensor:
        """Which latents are dead, ``(n_latents,)``."""
        return self.idle >= self.dead_after

    def watch_(self, passed: Pass) -> None:
        self.count_((passed.codes.abs() > self.active_above).any(0), len(passed.codes))

    @torch.no_grad()
    def count_(self, active: Tensor, n: int) -> None:
        """Count the examples of a step.

        Args:
            active: ``(n_latents,)`` bool, which latents some of them activate.
            n: how many there are.
        """
        active = of_all(active).any(0)
        self.revived.add_((active & self.dead).sum())
        self.idle.add_(rows_of_batch(n)).masked_fill_(active, 0)

    def report_(self) -> dict[str, float]:
        revived = int(self.revived)
        self.revived.zero_()
        return {"revived": revived}


@REVIVALS.register("none")
def none(autoencoder: AutoEncoder, reconstruction: Reconstruction) -> None:
    """No revival."""


def check_pre_codes(autoencoder: AutoEncoder, name: str) -> tuple[int, int]:
    """Give the numbers of features and latents of a network whose decoder is linear, and whose
    activation makes each code of one pre-code.

    Raises:
        ConfigError: it is another one.
    """
    activation = autoencoder.activation
    if activation.samples:
        raise ConfigError(
            f"revival={name} needs one pre-code for each latent, and activation={activation.name} "
            "has more; choose revival=none, or another activation"
        )
    linear = autoencoder.linear_decoder()
    if linear is None:
        raise ConfigError(
            f"revival={name} needs a decoder of one linear layer, whose columns are atoms, and "
            "this architecture has another one here; choose architecture=sae, or revival=none"
        )
    if autoencoder.output_activation.name != "identity":
        raise ConfigError(
            f"revival={name} needs architecture.output_activation=identity, given "
            f"{autoencoder.output_activation.name}; set it, or choose revival=none"
        )
    n_features, n_latents = linear[0].shape
    return n_features, n_latents
