"""Losses and gradients of every sparse auto-encoder against NumPy, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.model.penalties.roles import for_network
from sae_cli.model.penalties.weighted import L0, Tanh, WeighedL1, l1
from sae_cli.model.reconstruction import MSE
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from tests.model.sparse import small

Array = NDArray[np.float64]
CPU = Device(torch.device("cpu"))
X = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()
BANDWIDTH = 0.7
WEIGHT = 0.37


def activation(name: str) -> Activation:
    made: dict[str, Activation] = {
        "relu": Pointwise("relu"),
        "topk": TopK(k=3),
        "batch_topk": BatchTopK(k=3, threshold_rate=0.01),
        "jumprelu": JumpReLU(threshold=0.2, bandwidth=BANDWIDTH),
    }
    return made[name]


def keep(name: str, pre: Array, theta: Array) -> Array:
    """1 where a pre-code becomes a code, by sorting."""
    if name == "relu":
        return (pre > 0).astype(float)
    if name == "jumprelu":
        return (pre > theta).astype(float)
    if name == "topk":
        least = np.sort(pre, axis=1)[:, -3][:, None]
    else:
        least = np.sort(pre, axis=None)[-3 * len(pre)]
    return ((pre >= least) & (pre > 0)).astype(float)


@dataclass
class Slopes:
    """The penalty, and its derivatives by codes, pre-codes, thresholds and norms of atoms."""

    value: float
    codes: Array | float = 0.0
    pre: Array | float = 0.0
    theta: Array | float = 0.0
    norms: Array | float = 0.0


def none(f: Array, pre: Array, theta: Array, norms: Array) -> Slopes:
    return Slopes(0.0)


def of_l1(f: Array, pre: Array, theta: Array, norms: Array) -> Slopes:
    return Slopes(np.abs(f).sum() / len(f), np.sign(f) / len(f))


def of_weighed_l1(f: Array, pre: Array, theta: Array, norms: Array) -> Slopes:
    n = len(f)
    value = (np.abs(f) * norms).sum() / n
    return Slopes(value, np.sign(f) * norms / n, norms=np.abs(f).sum(0) / n)


def of_l0(f: Array, pre: Array, theta: Array, norms: Array) -> Slopes:
    near = np.abs(pre - theta) < BANDWIDTH / 2
    return Slopes((pre > theta).sum() / len(f), theta=-near.sum(0) / BANDWIDTH / len(f))


def of_tanh(f: Array, pre: Array, theta: Array, norms: Array) -> Slopes:
    n, t = len(f), np.tanh(4.0 * f * norms)
    inner = 4.0 * (1 - t**2) / n
    return Slopes(t.sum() / n, inner * norms, norms=(inner * f).sum(0))


def of_both(f: Array, pre: Array, theta: Array, norms: Array) -> Slopes:
    first, n, below = of_tanh(f, pre, theta, norms), len(f), np.maximum(theta - pre, 0)
    is_below = (below > 0) * norms / n
    return Slopes(
        first.value + 0.5 * (below * norms).sum() / n,
        first.codes,
        -0.5 * is_below,
        0.5 * is_below.sum(0),
        first.norms + 0.5 * below.sum(0) / n,
    )


PENALTIES = {
    "none": (None, none),
    "l1": (l1(weight=WEIGHT), of_l1),
    "l1 with norms": (
        WeighedL1(weight=WEIGHT, decoder_norms=True, warmup_steps=0, target_l0=None),
        of_weighed_l1,
    ),
    "l0": (L0(weight=WEIGHT, warmup_steps=0), of_l0),
    "tanh": (Tanh(weight=WEIGHT, scale=4.0, pre_code_weight=0.0, warmup_steps=0), of_tanh),
    "tanh and pre-codes": (
        Tanh(weight=WEIGHT, scale=4.0, pre_code_weight=0.5, warmup_steps=0),
        of_both,
    ),
}
NEED_THRESHOLDS = ("l0", "tanh and pre-codes")
VARIANTS = [
    (name, penalty)
    for name, penalty in product(["relu", "topk", "batch_topk", "jumprelu"], PENALTIES)
    if name == "jumprelu" or penalty not in NEED_THRESHOLDS
]


@pytest.mark.parametrize(("subtract", "unit_norm"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize(("name", "penalty"), VARIANTS)
def test_loss_and_gradients(name: str, penalty: str, subtract: bool, unit_norm: bool) -> None:
    model = small(activation(name), subtract_bias=subtract, unit_norm_decoder=unit_norm)
    given, slopes_of = PENALTIES[penalty]
    bound: Penalty | None = for_network(given, model)
    terms, gradients = Autograd(model, Objective(MSE(reduction="sum"), bound), CPU)(X, X)
    own = {key: value.detach().numpy() for key, value in model.named_parameters()}
    found = {
        key: gradient.numpy()
        for (key, _), gradient in zip(model.named_parameters(), gradients, strict=True)
    }
    place = f"encoder.{2 if subtract else 1}"
    at = "decoder.0.parametrizations.weight.original" if unit_norm else "decoder.0.weight"
    w, c, v, b = own[f"{place}.weight"], own[f"{place}.bias"], own[at], own["decoder.0.bias"]
    lengths = np.linalg.norm(v, axis=0)
    d = v / lengths if unit_norm else v
    norms = np.linalg.norm(d, axis=0)
    theta = np.exp(own["activation.log_threshold"]) if name == "jumprelu" else np.zeros(9)
    x, n = X.numpy(), len(X)

    seen = x - b if subtract else x
    pre = seen @ w.T + c
    on = keep(name, pre, theta)
    f = pre * on
    error = f @ d.T + b - x
    slopes = slopes_of(f, pre, theta, norms)
    of_x_hat = 2 * error / n
    of_f = of_x_hat @ d + WEIGHT * slopes.codes
    of_pre = of_f * on + WEIGHT * slopes.pre
    near = np.abs(pre - theta) < BANDWIDTH / 2
    of_theta = (of_f * -theta / BANDWIDTH * near).sum(0) + WEIGHT * slopes.theta
    of_d = of_x_hat.T @ f + WEIGHT * slopes.norms * d / norms
    wanted = {
        f"{place}.weight": of_pre.T @ seen,
        f"{place}.bias": of_pre.sum(0),
        at: (of_d - d * (d * of_d).sum(0)) / lengths if unit_norm else of_d,
        "decoder.0.bias": of_x_hat.sum(0) - subtract * (of_pre @ w).sum(0),
    }
    if name == "jumprelu":
        wanted["activation.log_threshold"] = theta * of_theta

    assert 0.1 < on.mean() < 0.9
    loss = (error**2).sum() / n + WEIGHT * slopes.value
    assert float(terms["loss"]) == pytest.approx(loss, rel=1e-10)
    assert found.keys() == wanted.keys()
    for key, gradient in wanted.items():
        np.testing.assert_allclose(found[key], gradient, rtol=1e-10, atol=1e-12, err_msg=key)
    if unit_norm:
        assert np.abs((found[at] * d).sum(0)).max() < 1e-12
