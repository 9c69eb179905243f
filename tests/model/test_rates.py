"""Parameters with learning rates of their own."""

from __future__ import annotations

import torch
from torch import Generator, nn

from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.unrolled import unrolled
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.rates import rates_of


def build(n_steps: int, *, rate_by_uses: bool) -> AutoEncoder:
    return unrolled(
        DataShape((6,), None),
        Pointwise("relu"),
        Generator().manual_seed(0),
        n_latents=4,
        expansion_factor=None,
        n_steps=n_steps,
        l1_weight=0.1,
        max_decoder_norm=1.0,
        max_encoder_norm=1.25,
        init="glorot_uniform",
        rate_by_uses=rate_by_uses,
    )


def test_shared_weights_learn_as_much_more_slowly_as_they_are_used_more_often() -> None:
    made = build(11, rate_by_uses=True)
    named = dict(made.named_parameters())
    rates = dict(zip(named, rates_of(made, [*named.values()]), strict=True))
    assert rates == {
        "encoder.threshold": 1 / 11,
        "encoder.filters.parametrizations.weight.original": 1 / 11,
        "encoder.interactions.weight": 1 / 10,
        "decoder.0.parametrizations.weight.original": 1.0,
    }


def test_without_repetition_or_unless_asked_all_rates_are_one() -> None:
    for made in (build(11, rate_by_uses=False), build(1, rate_by_uses=True)):
        assert set(rates_of(made, [*made.parameters(), nn.Parameter(torch.zeros(1))])) == {1.0}
