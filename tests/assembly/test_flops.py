"""The products of a pass, counted by hand."""

from __future__ import annotations

import pytest

from sae_cli.assembly.flops import multiply_adds
from sae_cli.assembly.network import build_network, build_network_parts
from sae_cli.config.schema import RunConfig
from sae_cli.core.shapes import DataShape
from sae_cli.model.autoencoder import AutoEncoder
from tests.conftest import Configure

CONV = ("model=conv", "architecture.kernel_sizes=[3]", "architecture.channels=[4,8]")


def model_of(config: RunConfig) -> AutoEncoder:
    shape = DataShape((1, 8, 8), None)
    return build_network(config, build_network_parts(config), shape).autoencoder


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("model=sparse_l1",), 64 * 64 + 64 * 64),
        # Shared weights take part twice.
        (("model=tied", "architecture.hidden_sizes=[]", "architecture.n_latents=30"), 2 * 64 * 30),
        # The encoder, two more steps with the interactions of 64 latents, the decoder.
        (("model=lista", "architecture.n_steps=3"), 64 * 64 + 2 * 64 * 64 + 64 * 64),
    ],
)
def test_of_matrices(overrides: tuple[str, ...], expected: int, configure: Configure) -> None:
    model = model_of(configure(*overrides))
    assert multiply_adds(model, (1, 8, 8)) == expected


def test_of_convolutions(configure: Configure) -> None:
    """Kernels of 3x3 lead from 1 to 4 channels at 8x8 places and, after a pool, from 4 to 8 at 4x4;
    after another pool, back from 2x2 places of 8 channels to 4, and from 4x4 of 4 to 1."""
    model = model_of(configure(*CONV))
    there = 64 * 9 * 1 * 4 + 16 * 9 * 4 * 8
    back = 4 * 9 * 8 * 4 + 16 * 9 * 4 * 1
    assert multiply_adds(model, (1, 8, 8)) == there + back


def test_of_recurrent_layers(configure: Configure) -> None:
    """In each of 8 steps, four gates of input and state lead from 8 to 50, to 16 and back to 50,
    and a linear layer to a row of 8."""
    overrides = ("model=recurrent", "architecture.hidden_sizes=[50]", "architecture.n_latents=16")
    model = model_of(configure(*overrides))
    gates = 4 * 50 * (8 + 50) + 4 * 16 * (50 + 16) + 4 * 50 * (16 + 50)
    assert multiply_adds(model, (1, 8, 8)) == 8 * (gates + 50 * 8)
