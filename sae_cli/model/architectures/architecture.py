"""What architectures share: their registry, and options that several of them take."""

from __future__ import annotations

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import MAX_WIDTH
from sae_cli.core.registry import Registry
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.pointwise import ActivationName
from sae_cli.model.autoencoder import AutoEncoder

ARCHITECTURES: Registry[AutoEncoder] = Registry("architecture")


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
