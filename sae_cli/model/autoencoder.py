"""The one model: an encoder, an activation, a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sae_cli.model.activations.activation import Activation


class Pass(NamedTuple):
    """What one forward pass made.

    Attributes:
        pre_codes: ``(batch, n_latents)``, what the activation was given.
        codes: ``(batch, n_latents)``.
        pre_x_hat: ``(batch, *input_shape)``, before the output activation (logits for a sigmoid).
        x_hat: ``(batch, *input_shape)``, the reconstruction.
        predicted: ``(batch, n_latents)``, where codes are inferred: what the encoder alone says.
    """

    pre_codes: Tensor
    codes: Tensor
    pre_x_hat: Tensor
    x_hat: Tensor
    predicted: Tensor | None = None


Infer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From ``x`` ``(batch, n_features)``, a dictionary ``(n_features, n_latents)`` and codes to start
from ``(batch, n_latents)`` to the codes that explain ``x`` best, without a gradient."""


def unpacked(module: nn.Module) -> list[nn.Module]:
    """The modules that are applied one after the other."""
    # Not a subclass, which may do something else.
    if type(module) is not nn.Sequential:
        return [module]
    return [inner for part in module for inner in unpacked(part)]


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
        code_shape: how the latents lie, ``(height, width, channels)`` of convolutional maps; in a
            row where it is not given.
        passed_on: what a layer above is trained on is this of the codes; the codes themselves
            where it is not given.

    Attributes:
        infer: what makes the codes from the encoder's; None where these are the codes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        activation: Activation,
        decoder: nn.Module,
        output_activation: Activation,
        n_latents: int,
        layers: Sequence[AutoEncoder] = (),
        code_shape: tuple[int, ...] | None = None,
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
        self.code_shape = (n_latents,) if code_shape is None else code_shape
        self.passed_on = nn.Identity() if passed_on is None else passed_on
        self.infer: Infer | None = None

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``(batch, n_latents)`` of ``x`` ``(batch, *input_shape)``."""
        codes: Tensor = self.activation(self.encoder(x))
        return codes if self.infer is None else self._inferred(self.infer, x, codes)

    def decode(self, codes: Tensor) -> Tensor:
        """Reconstruction ``(batch, *input_shape)`` of codes ``(batch, n_latents)``."""
        x_hat: Tensor = self.output_activation(self.decoder(codes))
        return x_hat

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Pass:
        """A pass of ``x`` ``(batch, *input_shape)``.

        Args:
            noise: ``(batch, n_latents)``, standard normal, for an activation that samples.
        """
        pre_codes = self.encoder(x)
        codes = self.activation(pre_codes, noise)
        predicted = None
        if self.infer is not None:
            predicted, codes = codes, self._inferred(self.infer, x, codes)
        pre_x_hat = self.decoder(codes)
        return Pass(pre_codes, codes, pre_x_hat, self.output_activation(pre_x_hat), predicted)

    @torch.no_grad()
    def _inferred(self, infer: Infer, x: Tensor, start: Tensor) -> Tensor:
        linear = self.linear_decoder()
        assert linear is not None, "codes are inferred from a linear decoder"
        weight, bias = linear
        flat = x.flatten(1)
        return infer(flat if bias is None else flat - bias, weight, start)

    def linear_decoder(self) -> tuple[Tensor, Tensor | None] | None:
        """Weight ``(n_features, n_latents)`` and bias ``(n_features,)`` or None of the decoder's
        one layer; None where the decoder is more than that."""
        parts = [part for part in unpacked(self.decoder) if not isinstance(part, nn.Unflatten)]
        weight, bias = getattr(parts[0], "weight", None), getattr(parts[0], "bias", None)
        if len(parts) > 1 or not isinstance(weight, Tensor) or weight.ndim != 2:
            return None
        return weight, bias

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

    def filters(self) -> Tensor | None:
        """The weight of the encoder's first layer: ``(n_filters, n_features)`` of a linear one,
        ``(n_filters, channels, height, width)`` of a convolution, None of any other."""
        kinds = (nn.Linear, nn.Conv2d, nn.RNNBase)
        first = next((part for part in self.encoder.modules() if isinstance(part, kinds)), None)
        return first.weight.detach() if isinstance(first, (nn.Linear, nn.Conv2d)) else None
