"""Locally connected auto-encoders: what a latent sees, and that it sees nothing else."""

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


def built(shape: DataShape = SHAPE, seed: int = 0, **options: Any) -> AutoEncoder:
    section = ARCHITECTURES.check(OPTIONS | options)
    code = ACTIVATIONS.build({"name": "relu", "active_above": 0.0})
    return ARCHITECTURES.build(section, shape, code, Generator().manual_seed(seed))


def batch(n: int = 5) -> Tensor:
    return torch.randn((n, *SHAPE.input_shape), generator=Generator().manual_seed(9))


def weights(model: AutoEncoder) -> tuple[Tensor, Tensor]:
    """Encoder ``(n_latents, n_features)`` and decoder weight ``(n_features, n_latents)``."""
    encoder, decoder = (
        next(m for m in side.modules() if isinstance(m, nn.Linear))
        for side in (model.encoder, model.decoder)
    )
    return encoder.weight.detach(), decoder.weight.detach()


def field_of(row: int, column: int) -> tuple[int, int]:
    """Where the 3x3 field begins, of a sheet of 4x6 over 8x9 pixels, written out by hand."""
    # Places of rows 1, 3, 5, 7 of 8; of columns 0.75, 2.25, ..., 8.25 of 9.
    return [0, 2, 4, 5][row], [0, 1, 2, 4, 5, 6][column]


def test_a_latent_sees_and_draws_one_whole_field_of_every_channel() -> None:
    encoder, decoder = weights(built())
    for latent in range(24):
        top, left = field_of(*divmod(latent, 6))
        expected = np.zeros((2, 8, 9), bool)
        expected[:, top : top + 3, left : left + 3] = True
        for weight in (encoder[latent], decoder[:, latent]):
            np.testing.assert_array_equal(weight.reshape(2, 8, 9).numpy() != 0, expected)


def test_codes_do_not_hear_of_pixels_outside_their_fields() -> None:
    model, x = built(), batch()
    other = x.clone()
    other[:, :, 5:, 6:] += 10.0
    changed = (model.encoder(x) != model.encoder(other)).any(0).reshape(4, 6)
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[2:, 3:] = True  # fields 4..6 and 5..7 high, 4..6 to 6..8 wide
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("unit_norm_decoder", [False, True])
def test_zeros_stay_zeros(unit_norm_decoder: bool, tmp_path: Path) -> None:
    """After steps with weight decay, and in the file."""
    model = built(unit_norm_decoder=unit_norm_decoder)
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
    loaded = built(seed=1, unit_norm_decoder=unit_norm_decoder)
    loaded.load_state_dict(saved)
    assert torch.equal(loaded(batch()).x_hat, model(batch()).x_hat)


def test_a_described_model_takes_the_tensors_of_a_file() -> None:
    with torch.device("meta"):
        described = built()
    assert all(parameter.is_meta for parameter in described.parameters())
    described.load_state_dict(built().state_dict(), assign=True)
    assert torch.equal(described(batch()).x_hat, built()(batch()).x_hat)


def test_atoms_have_unit_norm() -> None:
    atoms = built(unit_norm_decoder=True).atoms(24)
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
    encoder, decoder = weights(built(shape, sheet=[40, 40], field=9, init=init))
    # 81 pixels of a field; as many latents as pixels, so 81 latents at each pixel.
    for weight in (encoder, decoder):
        drawn = weight[weight != 0]
        assert float(drawn.var()) == pytest.approx(variance(81, 81), rel=0.02)


def test_the_seed_draws_the_weights() -> None:
    assert torch.equal(weights(built())[0], weights(built())[0])
    assert not torch.equal(weights(built())[0], weights(built(seed=1))[0])


def test_a_field_as_large_as_the_image_is_dense() -> None:
    shape = DataShape((1, 5, 5), None)
    encoder, decoder = weights(built(shape, field=5))
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
        built(DataShape(shape, None), **options)
