"""Locally connected auto-encoders: a latent sees its own field and nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Generator, Tensor, nn

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import ACTIVATIONS
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init

OPTIONS: dict[str, Any] = {
    "name": "local",
    "sheet": [4, 6],
    "field": 3,
    "output_activation": "identity",
    "unit_norm_decoder": False,
    "init": "glorot_uniform",
}
SHAPE = DataShape((2, 8, 9), None)


def build(shape: DataShape = SHAPE, seed: int = 0, **options: Any) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    code = ACTIVATIONS.build({"name": "relu", "active_above": 0.0})
    return ARCHITECTURES.build(section, shape, code, Generator().manual_seed(seed))


def batch(n: int = 5) -> Tensor:
    return torch.randn((n, *SHAPE.input_shape), generator=Generator().manual_seed(9))


def weights(model: AutoEncoder) -> tuple[Tensor, Tensor]:
    """Give the encoder weight ``(n_latents, n_features)`` and the decoder's transposed shape."""
    encoder, decoder = (
        next(m for m in side.modules() if isinstance(m, nn.Linear))
        for side in (model.encoder, model.decoder)
    )
    return encoder.weight.detach(), decoder.weight.detach()


def field_of(row: int, column: int) -> tuple[int, int]:
    """Give the first pixel of a 3x3 field, for a sheet of 4x6 over 8x9 pixels, by hand."""
    # Rows lie at 1, 3, 5, 7 of 8; columns at 0.75, 2.25, ..., 8.25 of 9.
    return [0, 2, 4, 5][row], [0, 1, 2, 4, 5, 6][column]


def test_a_latent_sees_and_draws_one_whole_field_of_every_channel() -> None:
    encoder, decoder = weights(build())
    for latent in range(24):
        top, left = field_of(*divmod(latent, 6))
        expected = np.zeros((2, 8, 9), bool)
        expected[:, top : top + 3, left : left + 3] = True
        for weight in (encoder[latent], decoder[:, latent]):
            np.testing.assert_array_equal(weight.reshape(2, 8, 9).numpy() != 0, expected)


def test_codes_do_not_depend_on_pixels_outside_their_fields() -> None:
    model, x = build(), batch()
    other = x.clone()
    other[:, :, 5:, 6:] += 10.0
    changed = (model.encoder(x) != model.encoder(other)).any(0).reshape(4, 6)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    # These fields reach down to rows 6 and 7, and across to columns 6, 7 and 8.
    expected[2:, 3:] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("unit_norm_decoder", [False, True])
def test_zeros_stay_zeros(unit_norm_decoder: bool, tmp_path: Path) -> None:
    """They stay zero through steps with weight decay, and in the file."""
    model = build(unit_norm_decoder=unit_norm_decoder)
    before = [weight == 0 for weight in weights(model)]
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (model(batch()).x_hat - batch()).square().sum().backward()
        optimizer.step()
    assert all(map(torch.equal, before, [weight == 0 for weight in weights(model)]))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    names = [name for name in model.state_dict() if name.endswith("original")]
    originals = [saved[name] for name in names]
    assert all(map(torch.equal, before, [tensor == 0 for tensor in originals]))
    loaded = build(seed=1, unit_norm_decoder=unit_norm_decoder)
    loaded.load_state_dict(saved)
    assert torch.equal(loaded(batch()).x_hat, model(batch()).x_hat)


def test_a_model_on_the_meta_device_takes_the_tensors_of_a_file() -> None:
    with torch.device("meta"):
        blueprint = build()
    assert all(parameter.is_meta for parameter in blueprint.parameters())
    blueprint.load_state_dict(build().state_dict(), assign=True)
    assert torch.equal(blueprint(batch()).x_hat, build()(batch()).x_hat)


def test_atoms_have_unit_norm() -> None:
    atoms = build(unit_norm_decoder=True).atoms(24)
    assert atoms.flatten(1).norm(dim=1).numpy() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        ("glorot_uniform", lambda n_in, n_out: 2 / (n_in + n_out)),
        ("he_normal", lambda n_in, n_out: 2 / n_in),
        ("lecun_normal", lambda n_in, n_out: 1 / n_in),
        ("torch_default", lambda n_in, n_out: 1 / (3 * n_in)),
    ],
)
def test_initial_weights_have_the_scale_of_their_own_fan_in(init: Init, variance: Any) -> None:
    shape = DataShape((1, 40, 40), None)
    encoder, decoder = weights(build(shape, sheet=[40, 40], field=9, init=init))
    # A field has 81 pixels; there are as many latents as pixels, so 81 latents see each pixel.
    for weight in (encoder, decoder):
        drawn = weight[weight != 0]
        assert float(drawn.var()) == pytest.approx(variance(81, 81), rel=0.02)


def test_the_seed_draws_the_weights() -> None:
    assert torch.equal(weights(build())[0], weights(build())[0])
    assert not torch.equal(weights(build())[0], weights(build(seed=1))[0])


def test_a_field_as_large_as_the_image_is_dense() -> None:
    shape = DataShape((1, 5, 5), None)
    encoder, decoder = weights(build(shape, field=5))
    assert (encoder != 0).all() and (decoder != 0).all()
    assert encoder.numel() == 25 * math.prod(OPTIONS["sheet"])


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            (72,),
            {},
            r"needs images .*shape \(72,\); choose another data set",
        ),
        ((1, 8, 2), {}, r"field=3 is larger than the images of 8 x 2 pixels; give at most 2"),
        ((1, 8, 8), {"sheet": [2**20, 2**20]}, "give a sheet of at most"),
    ],
)
def test_what_does_not_fit(shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(DataShape(shape, None), **options)
