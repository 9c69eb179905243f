"""Locally connected auto-encoders: latents on a sheet, each with its own field of the image.

Unlike those of a convolution, the weights are not shared between places (Gregor and LeCun 2010,
Emergence of complex-like cells in a temporal product network with local receptive fields).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, final

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH, Count, Width
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init, linear
from sae_cli.model.layers import UnitNorm, constrain_


@dataclass(frozen=True)
class Fields:
    """The fields of a sheet of latents: which features of an image each latent sees.

    The sheet is spread evenly over the image. A field is centred on the place of its latent, and
    shifted inwards at the borders of the image.

    Attributes:
        image: channels, height and width.
        sheet: rows and columns of latents.
        side: pixels along each side of a field, which has all channels.
    """

    image: tuple[int, int, int]
    sheet: tuple[int, int]
    side: int

    @property
    def n_seen(self) -> int:
        """The number of features in one field."""
        return self.image[0] * self.side * self.side

    def mask(self, device: torch.device) -> Tensor:
        """Make the mask of all fields, bool ``(rows * columns, channels * height * width)``."""
        rows, columns = (
            _windows(*axis, self.side, device)
            for axis in zip(self.sheet, self.image[1:], strict=True)
        )
        pixels = rows[:, None, :, None] & columns[None, :, None, :]
        everywhere = pixels[:, :, None].expand(-1, -1, self.image[0], -1, -1)
        return everywhere.flatten(2).flatten(0, 1)


@final
class Masked(nn.Module):
    """Parametrization that makes a weight exactly zero outside of the fields.

    The mask is made when it is first needed, so that a model on the meta device takes no memory.

    Args:
        fields: of all latents.
        decoder: the weight is ``(n_features, n_latents)``, not the other way round.
    """

    def __init__(self, fields: Fields, *, decoder: bool) -> None:
        super().__init__()
        self._fields = fields
        self._decoder = decoder
        self._mask: Tensor | None
        self.register_buffer("_mask", None, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        if self._mask is None or self._mask.device != weight.device:
            # The mask may first be needed in inference mode; autograd would reject such a tensor
            # later.
            with torch.inference_mode(False), torch.no_grad():
                mask = self._fields.mask(weight.device)
                n_latents, n_features = mask.shape
                # A sampling activation has several pre-codes for each latent, block after block.
                repeats = weight.numel() // (n_latents * n_features)
                self._mask = mask.t() if self._decoder else mask.repeat(repeats, 1)
        return weight * self._mask

    def right_inverse(self, weight: Tensor) -> Tensor:
        # Values outside of the fields are never used, so they are not saved.
        return weight if weight.is_meta else self(weight)


@ARCHITECTURES.register("local")
def local(
    shape: DataShape,
    activation: Activation,
    generator: Generator,
    *,
    sheet: Annotated[list[Width], Field(min_length=2, max_length=2)],
    field: Count,
    output_activation: ActivationName,
    unit_norm_decoder: bool,
    init: Init,
) -> AutoEncoder:
    """Build one linear layer each way; a latent sees, and draws, a square field of the image.

    Args:
        shape: of the data; images ``(channels, height, width)``.
        activation: makes the codes.
        generator: draws the initial weights.
        sheet: rows and columns of latents.
        field: pixels along each side of a field.
        output_activation: of the reconstruction.
        unit_norm_decoder: atoms have unit norm.
        init: how initial weights are drawn, at the scale that fits a unit's own number of inputs.

    Raises:
        ConfigError: the data are not images or smaller than a field, or the sheet is too large.
    """
    fields = _build_fields(shape, sheet, field)
    n_latents = math.prod(sheet)
    n_pre_codes = n_latents * activation.pre_codes_per_latent
    n_seeing = n_latents * fields.n_seen / shape.n_features
    encoder = linear(shape.n_features, n_pre_codes, init, generator)
    _rescale_(encoder, fields.n_seen, n_seeing * n_pre_codes / n_latents, init)
    decoder = linear(n_latents, shape.n_features, init, generator)
    _rescale_(decoder, n_seeing, fields.n_seen, init)
    constrain_(encoder, Masked(fields, decoder=False))
    constrain_(decoder, Masked(fields, decoder=True))
    if unit_norm_decoder:
        constrain_(decoder, UnitNorm(dim=0))
    return AutoEncoder(
        nn.Sequential(nn.Flatten(), encoder),
        activation,
        nn.Sequential(decoder, nn.Unflatten(1, shape.input_shape)),
        Pointwise(output_activation),
        n_latents,
        code_shape=tuple(sheet),
    )


def _build_fields(shape: DataShape, sheet: list[int], field: int) -> Fields:
    if len(shape.input_shape) != 3:
        raise ConfigError(
            "architecture=local needs images (channels, height, width), and the data have shape "
            f"{shape.input_shape}; choose another data set, or architecture=dense"
        )
    if math.prod(sheet) > MAX_WIDTH:
        raise ConfigError(
            f"architecture.sheet={sheet} has {math.prod(sheet)} latents; give a sheet of at most "
            f"{MAX_WIDTH}"
        )
    channels, height, width = shape.input_shape
    if field > min(height, width):
        raise ConfigError(
            f"architecture.field={field} is larger than the images of {height} x {width} pixels; "
            f"give at most {min(height, width)}"
        )
    return Fields((channels, height, width), (sheet[0], sheet[1]), field)


def _windows(n_places: int, n_pixels: int, side: int, device: torch.device) -> Tensor:
    """Tell which pixels of one axis each place of the sheet sees, bool ``(n_places, n_pixels)``."""
    centres = (torch.arange(n_places, device=device) + 0.5) * n_pixels / n_places
    starts = (centres - side / 2).round().long().clamp(0, n_pixels - side)
    pixels = torch.arange(n_pixels, device=device)
    return (pixels >= starts[:, None]) & (pixels < starts[:, None] + side)


def _rescale_(layer: nn.Linear, n_in: float, n_out: float, init: Init) -> None:
    """Rescale weights drawn for all inputs and outputs to fit ``n_in`` and ``n_out`` of them.

    The variance is proportional to 1 / fan-in or, by Glorot, to 1 / (fan-in + fan-out).
    """
    if layer.weight.is_meta:
        return
    glorot = init.startswith("glorot")
    of_all = layer.in_features + (layer.out_features if glorot else 0)
    of_some = n_in + (n_out if glorot else 0)
    with torch.no_grad():
        for drawn in (layer.weight, layer.bias):
            drawn.mul_(math.sqrt(of_all / of_some))
