"""Small sparse auto-encoders, to be compared with formulas."""

from __future__ import annotations

import torch
from torch import Generator

from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.architectures.sae import sae
from sae_cli.model.autoencoder import AutoEncoder


def small(
    activation: Activation,
    *,
    n_features: int = 6,
    n_latents: int = 9,
    subtract_bias: bool = True,
    tied_init: bool = False,
    unit_norm_decoder: bool = False,
) -> AutoEncoder:
    """A sparse auto-encoder in float64, all of whose parameters have been drawn."""
    generator = Generator().manual_seed(0)
    made = sae(
        DataShape((n_features,), None),
        activation,
        generator,
        n_latents=n_latents,
        expansion_factor=None,
        subtract_bias=subtract_bias,
        bias_init="zeros",
        tied_init=tied_init,
        unit_norm_decoder=unit_norm_decoder,
        init="glorot_uniform",
    )
    activation.fit_to_([n_latents])
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return made.double()
