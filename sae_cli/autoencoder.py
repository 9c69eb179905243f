"""The one model: an encoder, an activation, a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sae_cli.activations import Activation


class Pass(NamedTuple):
    """What one forward pass made.

    Attributes:
        pre_codes: ``(batch, n_latents)``, what the activation was given.
        codes: ``(batch, n_latents)``.
        pre_x_hat: ``(batch, *input_shape)``, before the output activation (logits for a sigmoid).
        x_hat: ``(batch, *input_shape)``, the reconstruction.
    """

    pre_codes: Tensor
    codes: Tensor
    pre_x_hat: Tensor
    x_hat: Tensor


@final
class AutoEncoder(nn.Module):
    """``x_hat = output_activation(decoder(activation(encoder(x))))``.

    Args:
        encoder: ``(batch, *input_shape)`` to pre-codes ``(batch, n_latents)``.
        activation: pre-codes to codes.
        decoder: codes to ``(batch, *input_shape)``.
        output_activation: applied to what the decoder returns.
        n_latents: width of the code.
        layers: each layer as an auto-encoder over the same parameters, from the input on, for
            training layer by layer; empty where an architecture has no such layers.
        passed_on: from the codes of a layer to the data of the next layer, both flat: for layers
            with pooling between them; None where the codes are passed on as they are.
    """

    def __init__(
        self,
        encoder: nn.Module,
        activation: Activation,
        decoder: nn.Module,
        output_activation: Activation,
        n_latents: int,
        layers: Sequence[AutoEncoder] = (),
        passed_on: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.activation = activation
        self.decoder = decoder
        self.output_activation = output_activation
        self.n_latents = n_latents
        # A tuple, so that the layers are not registered as further owners of the parameters.
        self.layers = tuple(layers)
        self.passed_on = nn.Identity() if passed_on is None else passed_on

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``(batch, n_latents)`` of ``x`` ``(batch, *input_shape)``."""
        codes: Tensor = self.activation(self.encoder(x))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Reconstruction ``(batch, *input_shape)`` of codes ``(batch, n_latents)``."""
        x_hat: Tensor = self.output_activation(self.decoder(codes))
        return x_hat

    def forward(self, x: Tensor) -> Pass:
        pre_codes = self.encoder(x)
        codes = self.activation(pre_codes)
        pre_x_hat = self.decoder(codes)
        return Pass(pre_codes, codes, pre_x_hat, self.output_activation(pre_x_hat))

    def atoms(self, first: int) -> Tensor:
        """``(at most first, *input_shape)``: what a latent alone adds to the decoder's output.

        The change of ``pre_x_hat`` as one latent goes from 0 to 1. For a linear decoder these are
        the columns of its weight, for a deep one its response to each unit code.
        """
        with torch.no_grad():
            reference = next(self.parameters())
            n = min(first, self.n_latents)
            codes = torch.zeros(n + 1, self.n_latents).to(reference)
            codes[1:].fill_diagonal_(1.0)
            answers: Tensor = self.decoder(codes)
            return answers[1:] - answers[0]

    def filters(self) -> Tensor:
        """``(n_filters, n_features)``: the weight of the encoder's first linear layer."""
        first = next(layer for layer in self.encoder.modules() if isinstance(layer, nn.Linear))
        return first.weight.detach()
