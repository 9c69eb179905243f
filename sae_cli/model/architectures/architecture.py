"""The registry of architectures, and options that several of them take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH
from sae_cli.core.registry import Registry
from sae_cli.core.shapes import DataShape
from sae_cli.model.autoencoder import AutoEncoder

T = TypeVar("T")

ARCHITECTURES: Registry[AutoEncoder] = Registry("architecture")

# For these it matters which axis of an example is which; others see a row of features.
SEES_AXES = ("conv", "conv_group", "local", "recurrent")


def code_width(shape: DataShape, n_latents: int | None, expansion_factor: float | None) -> int:
    """Give the number of latents, from whichever of the two is given.

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


def one_each(key: str, given: Sequence[T], n_layers: int, layers: str) -> list[T]:
    """Give one value for each layer, from a list of one for all or one each.

    Args:
        key: the option, for the message.
        layers: which layers these are, for the message.

    Raises:
        ConfigError: the list has another length.
    """
    if len(given) not in {1, n_layers}:
        raise ConfigError(
            f"architecture.{key}={list(given)}: give one, or one for each of the {n_layers} "
            f"{layers}"
        )
    return list(given) * n_layers if len(given) == 1 else list(given)
