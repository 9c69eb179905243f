"""A network some of whose latents this process holds, and other processes the rest.

Its encoder is one linear layer, whose rows are latents, and its decoder another, whose columns are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sae_cli.model.activations.gated import Gated
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures.sae import SubtractBias
from sae_cli.model.autoencoder import AutoEncoder, unpack
from sae_cli.model.layers import MaxNorm, UnitNorm

# Each makes a code of the pre-codes of its latent, or knows of the other processes.
HELD_APART = (Pointwise, TopK, BatchTopK, JumpReLU, Gated)


def has_latents_apart(autoencoder: AutoEncoder) -> bool:
    """Whether encoder and decoder are one linear layer each, around a centre or not, whose weights
    are free, or constrained each latent by itself."""
    around = (nn.Flatten, SubtractBias)
    encoder = [part for part in unpack(autoencoder.encoder) if not isinstance(part, around)]
    one = len(encoder) == 1 and isinstance(encoder[0], nn.Linear)
    if not one or autoencoder.linear_decoder() is None:
        return False
    decoder = unpack(autoencoder.decoder)[0]
    return _constrains_apart(encoder[0], 1) and _constrains_apart(decoder, 0)


def _constrains_apart(layer: nn.Module, dim: int) -> bool:
    """Whether what constrains a layer's weight looks at vectors along ``dim`` alone."""
    if not parametrize.is_parametrized(layer, "weight"):
        return True
    lists = cast("Mapping[str, Iterable[nn.Module]]", layer.parametrizations)
    constraints = lists["weight"]
    return all(isinstance(one, (UnitNorm, MaxNorm)) and one.dim == dim for one in constraints)


def axes_of_latents(autoencoder: AutoEncoder) -> Mapping[str, int]:
    """Give the axis of latents of each parameter that has one, by its name."""
    found: dict[str, int] = {}
    for name, parameter in autoencoder.named_parameters():
        side = name.partition(".")[0]
        # The bias of the decoder has one number for each feature.
        if side == "decoder" and parameter.ndim == 2:
            found[name] = 1
        elif side in ("encoder", "activation") and parameter.ndim:
            found[name] = 0
    return found


@torch.no_grad()
def hold_(autoencoder: AutoEncoder, latents: range) -> None:
    """Keep these latents, and leave the others to other processes.

    Args:
        autoencoder: such that ``has_latents_apart`` holds.
    """
    axes = axes_of_latents(autoencoder)
    for name, parameter in autoencoder.named_parameters():
        if name in axes:
            parameter.data = held_of(parameter, axes[name], latents)
    for part in autoencoder.modules():
        if isinstance(part, nn.Linear):
            part.out_features, part.in_features = part.weight.shape
    autoencoder.n_held = len(latents)


def held_of(whole: Tensor, axis: int, latents: range) -> Tensor:
    """Give a copy of a tensor's part of these latents."""
    return whole.narrow(axis, latents.start, len(latents)).clone()


def n_parameters(autoencoder: AutoEncoder) -> int:
    """Count the numbers that are trained, with those that other processes hold."""
    axes = axes_of_latents(autoencoder) if autoencoder.n_held < autoencoder.n_latents else {}
    every = [(name, p) for name, p in autoencoder.named_parameters() if p.requires_grad]
    return sum(
        p.numel() // autoencoder.n_held * autoencoder.n_latents if name in axes else p.numel()
        for name, p in every
    )
