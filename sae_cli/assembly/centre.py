"""The bias that some decoders begin with: the centre of the training examples."""

from __future__ import annotations

import torch

from sae_cli.datasets import Split
from sae_cli.datasets.centre import centre_of
from sae_cli.model.autoencoder import AutoEncoder


@torch.no_grad()
def set_bias_(autoencoder: AutoEncoder, train: Split) -> None:
    """Set the bias of a linear decoder to the centre of the examples, if it begins there."""
    if autoencoder.bias_from is None:
        return
    linear = autoencoder.linear_decoder()
    assert linear is not None and linear[1] is not None, "only a linear decoder begins there"
    linear[1].copy_(centre_of(train, autoencoder.bias_from).flatten())
