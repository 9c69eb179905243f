"""A network that is a stack of layers, each an auto-encoder of flat codes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sae_cli.model.autoencoder import AutoEncoder


def stack(layers: Sequence[AutoEncoder], undo: Sequence[nn.Module]) -> AutoEncoder:
    """Join all layers into one network over the same parameters.

    Args:
        layers: from the input on.
        undo: for each layer but the last, turns the data that it passes on back into its codes.
    """
    down: list[nn.Module] = []
    for layer in layers[:-1]:
        down += [layer.encoder, layer.activation, layer.pass_on]
    last = layers[-1]
    up: list[nn.Module] = [last.decoder]
    for i in range(len(layers) - 2, -1, -1):
        up += [layers[i + 1].output_activation, undo[i], layers[i].decoder]
    return AutoEncoder(
        nn.Sequential(*down, last.encoder),
        last.activation,
        nn.Sequential(*up),
        layers[0].output_activation,
        last.n_latents,
        layers,
        last.code_shape,
    )
