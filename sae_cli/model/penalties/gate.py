"""The penalty of gated sparse auto-encoders, on their gates."""

from __future__ import annotations

from typing import final

from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import NonNegative, Positive, WarmUpSteps
from sae_cli.model.activations.gated import Gated
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.penalties.penalty import PENALTIES, Penalty
from sae_cli.model.penalties.roles import OfEachLatent
from sae_cli.model.penalties.targeting import Targeting


@final
@PENALTIES.register("gate")
class Gate(Targeting, OfEachLatent):
    """``mean over examples of sum_j ReLU(g_j)`` over gates g, for ``activation=gated``
    (Rajamanoharan et al. 2024)."""

    of = "pre_codes"

    def __init__(
        self,
        *,
        weight: NonNegative,
        warmup_steps: WarmUpSteps,
        target_l0: Positive | None,
    ) -> None:
        super().__init__(weight=weight, warmup_steps=warmup_steps, target_l0=target_l0)

    def for_network(self, autoencoder: AutoEncoder) -> Penalty:
        activation = autoencoder.activation
        if not isinstance(activation, Gated):
            raise ConfigError(
                f"penalty=gate needs gates, and activation={activation.name} has none; choose "
                "activation=gated, or another penalty"
            )
        return Gate(weight=self.weight, warmup_steps=self.warmup_steps, target_l0=self.target_l0)

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.relu().sum(1)
