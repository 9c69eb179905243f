"""Recurrent auto-encoders: LSTMs read an image row by row, and write it row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import draw_, linear

# This bound is far above what can be trained.
MAX_HIDDEN = 100
# PyTorch can still count the weights of four gates of so many units.
MAX_UNITS = 2**28
Units = Annotated[int, Field(ge=1, le=MAX_UNITS)]


@final
class ToSequences(nn.Module):
    """``(batch, ..., steps, width)`` as sequences ``(batch, steps, features)``: the rows of an
    image from the top down, those of its channels side by side."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).flatten(1, -3).transpose(1, 2).flatten(2)


@final
class FromSequences(nn.Module):
    """Sequences ``(batch, steps, features)`` as ``(batch, *input_shape)``."""

    def __init__(self, input_shape: Sequence[int]) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        *channels, steps, width = self.input_shape
        rows = x.reshape(-1, steps, math.prod(channels), width)
        return rows.transpose(1, 2).reshape(-1, *self.input_shape)


@final
class Lstm(nn.Module):
    """A long short-term memory: ``(batch, steps, n_in)`` to ``(batch, steps, n_out)``.

    The gates i, f, g, o (input, forget, cell, output) are ``act(W x_t + U h_(t-1) + b)``;
    ``c_t = f c_(t-1) + i g``, ``h_t = o tanh(c_t)`` (Hochreiter and Schmidhuber 1997; Gers et al.
    2000). Initial weights are those of Keras: W is Glorot uniform over all four gates at once, U
    orthogonal, b 1 for the forget gate and 0 elsewhere (Jozefowicz et al. 2015). PyTorch adds a
    second b, which stays 0 and is not trained.
    """

    def __init__(self, n_in: int, n_out: int, generator: Generator) -> None:
        super().__init__()
        # PyTorch draws weights in vain, as for a linear layer.
        self.lstm = nn.LSTM(n_in, n_out, batch_first=True)
        kernel, recurrent_kernel, own, second = self.lstm.parameters()
        second.requires_grad_(False)
        if own.is_meta:
            return
        draw_(kernel, own, "glorot_uniform", generator)
        # orthogonal_ uses a QR decomposition, whose last bits depend on the number of threads.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        nn.init.orthogonal_(recurrent_kernel, generator=generator)
        torch.set_num_threads(threads)
        with torch.no_grad():
            second.zero_()
            own[n_out : 2 * n_out].fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.lstm(x)[0]
        return outputs


@final
class LastStep(nn.Module):
    """The last step of ``(batch, steps, n)``, as ``(batch, n)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


@final
class EachStep(nn.Module):
    """The same codes ``(batch, n)`` at each step, as ``(batch, steps, n)``."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, codes: Tensor) -> Tensor:
        return codes.unsqueeze(1).expand(-1, self.steps, -1)


@ARCHITECTURES.register("recurrent")
def recurrent(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    hidden_sizes: Annotated[list[Units], Field(min_length=1, max_length=MAX_HIDDEN)],
    n_latents: Units,
    output_activation: ActivationName,
) -> AutoEncoder:
    """Build LSTMs of ``hidden_sizes`` and ``n_latents`` to the code, and the same layers back.

    The last output of the encoder is the code. The decoder sees it at each step: LSTMs of
    ``hidden_sizes``, from the last to the first, and a linear layer. If the activation takes
    several pre-codes for each latent, a linear layer makes them from the encoder's last output.

    Args:
        shape: of the data: ``(channels, steps, width)``, or ``(steps, width)`` of one channel.
        activation: makes the codes from the last output, which lies in (-1, 1).
        generator: draws the initial weights.
        hidden_sizes: widths of the LSTMs between input and code, from the input on.
        n_latents: width of the code.
        output_activation: of the reconstruction.

    Raises:
        ConfigError: the data are not sequences.
    """
    if len(shape.input_shape) < 2:
        raise ConfigError(
            "architecture=recurrent reads the rows of images, and an example of the data has shape "
            f"{shape.input_shape}, without rows; choose architecture=dense or a data set of images"
        )
    steps = shape.input_shape[-2]
    n_features = shape.n_features // steps
    down = [Lstm(a, b, generator) for a, b in pairwise([n_features, *hidden_sizes, n_latents])]
    up = [Lstm(a, b, generator) for a, b in pairwise([n_latents, *reversed(hidden_sizes)])]
    encoder: list[nn.Module] = [ToSequences(), *down, LastStep()]
    pre_codes_per_latent = activation.pre_codes_per_latent
    if pre_codes_per_latent > 1:
        n_pre_codes = n_latents * pre_codes_per_latent
        encoder.append(linear(n_latents, n_pre_codes, "glorot_uniform", generator))
    return AutoEncoder(
        nn.Sequential(*encoder),
        activation,
        nn.Sequential(
            EachStep(steps),
            *up,
            linear(hidden_sizes[0], n_features, "glorot_uniform", generator),
            FromSequences(shape.input_shape),
        ),
        Pointwise(output_activation),
        n_latents,
    )
