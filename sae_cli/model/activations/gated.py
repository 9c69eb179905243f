"""The activation of gated sparse auto-encoders: a gate says which codes are active, a magnitude how
much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import NON_NEGATIVE
from sae_cli.model.activations.activation import ACTIVATIONS, Activation


@final
@ACTIVATIONS.register("gated")
class Gated(Activation):
    """``1[g > 0] ReLU(m)`` with the gate ``g = W x_c + b_g`` and the magnitude
    ``m = exp(r) (W x_c) + b_m`` (Rajamanoharan et al. 2024, Improving dictionary learning with
    gated sparse autoencoders).

    Pre-codes are gates; the bias of the encoder's layer is that of the gate, and the magnitude is
    computed from ``g - b_g``. The jump has no derivative, so the codes teach the gate nothing: a
    penalty of the gates and a further term of the objective do.

    Attributes:
        log_scale: r, ``(n_latents,)``, zeros at first.
        magnitude_bias: b_m, ``(n_latents,)``, zeros at first.
    """

    name = "gated"
    interval = NON_NEGATIVE
    active_above = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._encoder_layer: tuple[nn.Linear] | None = None
        self.log_scale: nn.Parameter
        self.register_parameter("log_scale", None)
        self.magnitude_bias: nn.Parameter
        self.register_parameter("magnitude_bias", None)

    def gate_by_(self, encoder_layer: nn.Linear) -> None:
        """Take the layer whose results are the gates."""
        # In a tuple the layer is not registered a second time.
        self._encoder_layer = (encoder_layer,)

    def fit_to_(self, widths: Sequence[int]) -> None:
        if self._encoder_layer is None:
            raise ConfigError(
                "activation=gated needs an encoder of one linear layer that knows of it, and this "
                "architecture has another one; choose architecture=sae, or another activation"
            )
        self.log_scale = nn.Parameter(torch.zeros(widths[0]))
        self.magnitude_bias = nn.Parameter(torch.zeros(widths[0]))

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        assert self._encoder_layer is not None
        shared = pre_codes - self._encoder_layer[0].bias
        magnitude = self.log_scale.exp() * shared + self.magnitude_bias
        return torch.where(pre_codes > 0.0, magnitude.relu(), 0.0)
