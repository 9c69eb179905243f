"""The architecture of sparse auto-encoders, against numbers that other libraries gave."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.activations.topk import BatchTopK, TopK
from tests.model.sparse import small


def double(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


ENCODER = double([[-0.5, 0.25, -0.25, 0.5], [0, -0.5, 0.25, -0.25], [0.5, 0, -0.5, 0.25]])
DECODER = double([[-0.75, 0.25, -0.5], [0, -0.75, 0.25], [0.75, 0, -0.75], [-0.25, 0.75, 0]])
ENCODER_BIAS, DECODER_BIAS = [0, 0.25, -0.25, 0.5], [0.5, -0.25, 0.25]
THRESHOLDS = [0.3, 0.9, 0.1, 0.5]
X = double([[1, 2, -1], [0.5, -1.5, 0.25]])
# Written by the classes of SAELens 6.54 and dictionary_learning 0.1.
STANDARD = (
    [[0, 0, 0.8125, 0], [0, 0.875, 0, 0.8125]],
    [[1.109375, -0.25, -0.359375], [0.296875, -0.296875, 0.46875]],
)


def jumprelu() -> Activation:
    return JumpReLU(threshold=0.1, bandwidth=0.1)


@pytest.mark.parametrize(
    ("activation", "subtract_bias", "codes", "x_hat"),
    [
        (Pointwise("relu"), True, *STANDARD),
        (
            Pointwise("relu"),
            False,
            [[0, 0, 0.5, 0.25], [0, 1.125, 0, 1.1875]],
            [[0.8125, -0.0625, -0.125], [0.203125, -0.203125, 0.53125]],
        ),
        (
            TopK(k=1),
            True,
            [[0, 0, 0.8125, 0], [0, 0.875, 0, 0]],
            [[1.109375, -0.25, -0.359375], [0.5, -0.90625, 0.46875]],
        ),
        (TopK(k=2), True, *STANDARD),
        (
            jumprelu(),
            True,
            [[0, 0, 0.8125, 0], [0, 0, 0, 0.8125]],
            [[1.109375, -0.25, -0.359375], [0.296875, 0.359375, 0.25]],
        ),
        (
            jumprelu(),
            False,
            [[0, 0, 0.5, 0], [0, 1.125, 0, 1.1875]],
            [[0.875, -0.25, -0.125], [0.203125, -0.203125, 0.53125]],
        ),
        (BatchTopK(k=1, threshold_rate=0.1), True, *STANDARD),
    ],
)
def test_as_other_libraries_compute(
    activation: Activation,
    subtract_bias: bool,
    codes: list[list[float]],
    x_hat: list[list[float]],
) -> None:
    model = small(activation, n_features=3, n_latents=4, subtract_bias=subtract_bias)
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    place = f"encoder.{2 if subtract_bias else 1}"
    with torch.no_grad():
        state[f"{place}.weight"].copy_(ENCODER.t())
        state[f"{place}.bias"].copy_(torch.tensor(ENCODER_BIAS))
        state["decoder.0.weight"].copy_(DECODER.t())
        state["decoder.0.bias"].copy_(torch.tensor(DECODER_BIAS))
        if isinstance(activation, JumpReLU):
            activation.log_threshold.copy_(torch.tensor(THRESHOLDS).log())
        if isinstance(activation, BatchTopK):
            activation.threshold.fill_(0.6)
        passed = model(X)
    torch.testing.assert_close(passed.codes, double(codes))
    torch.testing.assert_close(passed.x_hat, double(x_hat))
    torch.testing.assert_close(model.encode(X), passed.codes)


def test_tied_at_first_and_not_later() -> None:
    model = small(Pointwise("relu"), tied_init=True)
    parameters = dict(model.named_parameters())
    assert torch.equal(parameters["encoder.2.weight"], parameters["decoder.0.weight"].t())
    norms = parameters["decoder.0.weight"].norm(dim=0)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    assert parameters["encoder.2.weight"] is not parameters["decoder.0.weight"]


def test_atoms_keep_unit_norm() -> None:
    model = small(Pointwise("relu"), unit_norm_decoder=True)
    linear = model.linear_decoder()
    assert linear is not None
    torch.testing.assert_close(linear[0].norm(dim=0), torch.ones(9).double())


def test_a_transpose_of_another_shape_is_refused() -> None:
    gaussian = ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0})
    with pytest.raises(ConfigError, match=r"tied_init=true .*; give"):
        small(gaussian, tied_init=True)
