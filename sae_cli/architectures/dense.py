"""Dense auto-encoders: linear layers with activations between; the decoder mirrors the encoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from sae_cli.activations import Activation, ActivationName, Pointwise
from sae_cli.autoencoder import AutoEncoder
from sae_cli.initialisation import Init, linear
from sae_cli.options import MAX_WIDTH, Positive, Width
from sae_cli.registry import ConfigError, Registry
from sae_cli.shapes import DataShape

# Far more than can be trained without shortcuts between layers.
MAX_HIDDEN = 1000

ARCHITECTURES: Registry[AutoEncoder] = Registry("architecture")


@final
class UnitNorm(nn.Module):
    """Parametrization that scales a weight to unit L2 norm along ``dim``.

    The gradient then has no part along the vector itself, so no step is spent on its length.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight: Tensor) -> Tensor:
        return F.normalize(weight, dim=self.dim)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


@final
class TiedLinear(nn.Module):
    """A decoder layer that uses the transpose of an encoder layer's weight, with its own bias.

    The weight stays one parameter, owned by the encoder: it is saved once, moved once, and
    receives the gradient of both uses.
    """

    def __init__(self, encoder_layer: nn.Linear) -> None:
        super().__init__()
        # In a tuple, so that the encoder's layer is not registered a second time here.
        self._encoder_layer = (encoder_layer,)
        self.bias = nn.Parameter(torch.zeros(encoder_layer.in_features))

    @property
    def weight(self) -> Tensor:
        """``(n_out, n_in)``, a view of the encoder's ``(n_in, n_out)`` weight."""
        return self._encoder_layer[0].weight.t()

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@ARCHITECTURES.register("dense")
def dense(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    hidden_sizes: Annotated[list[Width], Field(max_length=MAX_HIDDEN)],
    hidden_activations: Annotated[list[ActivationName], Field(max_length=MAX_HIDDEN)],
    n_latents: Width | None,
    expansion_factor: Positive | None,
    output_activation: ActivationName,
    tied: bool,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Input, ``hidden_sizes``, code, the same back again.

    Args:
        shape: of the data.
        activation: makes the codes.
        generator: draws the initial weights.
        hidden_sizes: widths between input and code, from the input on; may be empty.
        hidden_activations: one for all hidden layers, or one each.
        n_latents: width of the code; or else
        expansion_factor: width of the code as a multiple of the number of input features.
        output_activation: of the reconstruction.
        tied: the decoder's weights are the encoder's, transposed (biases are its own).
        unit_norm_decoder: the columns of every decoder weight have unit norm. With one layer these
            are the atoms, and a smaller code is a smaller reconstruction; with more, what later
            layers can make up for a smaller code is bounded.
        init: how initial weights are drawn.

    Raises:
        ConfigError: widths or activations that do not fit together.
    """
    width = code_width(shape, n_latents, expansion_factor)
    sizes = [shape.n_features, *hidden_sizes, width]
    if tied and activation.samples:
        raise ConfigError(
            f"architecture.tied=true shares a weight of one number for each latent, and "
            f"activation={activation.name} takes {activation.pre_codes_per_latent}; give "
            "architecture.tied=false, or another activation"
        )
    names = hidden_activation_names(hidden_sizes, hidden_activations)
    between = [Pointwise(name, activation.active_above) for name in names]
    ends = [*sizes[:-1], width * activation.pre_codes_per_latent]
    encoder = [
        linear(n_in, n_out, init, generator) for n_in, n_out in zip(sizes, ends[1:], strict=False)
    ]
    decoder: list[nn.Module] = [
        TiedLinear(layer) if tied else linear(n_out, n_in, init, generator)
        for layer, (n_in, n_out) in zip(encoder, pairwise(sizes), strict=True)
    ]
    if unit_norm_decoder:
        # A decoder column is an encoder row where the weights are tied.
        for layer in encoder if tied else decoder:
            # Unsafe means untried: a trial on the meta device would import sympy.
            parametrize.register_parametrization(
                layer, "weight", UnitNorm(dim=1 if tied else 0), unsafe=True
            )
    return _unroll(shape, encoder, decoder, [*between, activation], Pointwise(output_activation))


def code_width(shape: DataShape, n_latents: int | None, expansion_factor: float | None) -> int:
    """The number of latents from whichever of the two is given.

    Raises:
        ConfigError: both are given, or neither; or the factor makes too many.
    """
    if (n_latents is None) == (expansion_factor is None):
        raise ConfigError(
            f"architecture.n_latents={n_latents or 'null'} and "
            f"architecture.expansion_factor={expansion_factor or 'null'}: give a number for one of "
            "them and null for the other"
        )
    if expansion_factor is not None:
        width = expansion_factor * shape.n_features
        if width > MAX_WIDTH:
            raise ConfigError(
                f"architecture.expansion_factor={expansion_factor} makes {width:g} latents of "
                f"{shape.n_features} features; give a factor that makes at most {MAX_WIDTH}"
            )
        return max(1, round(width))
    assert n_latents is not None
    return n_latents


def hidden_activation_names(
    hidden_sizes: list[int], hidden_activations: list[ActivationName]
) -> list[ActivationName]:
    """One name for each hidden layer.

    Raises:
        ConfigError: there are neither one activation nor as many as hidden layers.
    """
    if len(hidden_activations) not in {1, len(hidden_sizes)}:
        raise ConfigError(
            f"architecture.hidden_activations={hidden_activations}: give one activation, or one "
            f"for each of the {len(hidden_sizes)} hidden layers"
        )
    return (
        hidden_activations * len(hidden_sizes)
        if len(hidden_activations) == 1
        else hidden_activations
    )


def _unroll(
    shape: DataShape,
    encoder: list[nn.Linear],
    decoder: list[nn.Module],
    activations: list[Activation],
    output_activation: Activation,
) -> AutoEncoder:
    """The whole network, and each of its layers as an auto-encoder over the same parameters.

    ``decoder[i]`` undoes ``encoder[i]``; ``activations[i]`` follows ``encoder[i]``.
    """
    down: list[nn.Module] = [nn.Flatten()]
    for layer, activation in zip(encoder[:-1], activations, strict=False):
        down += [layer, activation]
    up: list[nn.Module] = [decoder[-1]]
    for undo, activation in zip(decoder[-2::-1], activations[-2::-1], strict=True):
        up += [activation, undo]
    unflatten = nn.Unflatten(1, shape.input_shape)
    layers = [
        AutoEncoder(
            nn.Sequential(nn.Flatten(), encoder[i]),
            activations[i],
            decoder[i] if i else nn.Sequential(decoder[i], unflatten),
            activations[i - 1] if i else output_activation,
            _n_codes(encoder[i], activations[i]),
        )
        for i in range(len(encoder))
    ]
    return AutoEncoder(
        nn.Sequential(*down, encoder[-1]),
        activations[-1],
        nn.Sequential(*up, unflatten),
        output_activation,
        _n_codes(encoder[-1], activations[-1]),
        layers,
    )


def _n_codes(layer: nn.Linear, activation: Activation) -> int:
    return layer.out_features // activation.pre_codes_per_latent
