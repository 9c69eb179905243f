"""Gradients with labels, noise and some of the parameters, against formulas and autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.dense import dense
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.head import Head
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.activity import L1
from sae_cli.model.penalties.gaussian_kl import GaussianKL
from sae_cli.model.reconstruction import MSE
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.by_hand import can_differentiate
from sae_cli.training.gradients.compiled import Compiled

CPU = Device(torch.device("cpu"))
N_FEATURES, N_LATENTS = 12, 5
X = torch.rand(8, 1, N_FEATURES, generator=Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, -1, 1, 1, 0, -1, 2])
NOISE = torch.randn(8, N_LATENTS, generator=Generator().manual_seed(1))


def model(activation: Activation | None = None) -> AutoEncoder:
    return dense(
        DataShape((1, N_FEATURES), 3),
        Pointwise("relu") if activation is None else activation,
        Generator().manual_seed(2),
        hidden_sizes=[],
        hidden_activations=["selu"],
        n_latents=N_LATENTS,
        expansion_factor=None,
        output_activation="identity",
        tied=False,
        unit_norm_decoder=False,
        init="glorot_uniform",
    )


def head(max_row_norm: float | None = None) -> Head:
    return Head(
        N_LATENTS,
        3,
        normalise=max_row_norm is not None,
        max_row_norm=max_row_norm,
        generator=Generator().manual_seed(3),
    )


def test_of_a_head_alone_by_hand() -> None:
    """``codes' (p - onehot) / n`` over the labelled examples; the encoder is not trained."""
    trained, classifier = model(), head()
    objective = Objective(None, None, head=classifier, head_weight=0.7)
    gradients = Autograd(trained, objective, CPU, list(classifier.parameters()))
    terms, (of_weight, of_bias) = gradients(X, X, LABELS)
    with torch.no_grad():
        codes = trained.encode(X)
        error = classifier(codes).softmax(1) - F.one_hot(LABELS.clamp_min(0), 3)
        error[LABELS < 0] = 0.0
        n = int((LABELS >= 0).sum())
    assert torch.allclose(of_weight, 0.7 * error.t() @ codes / n, atol=1e-6)
    assert torch.allclose(of_bias, 0.7 * error.sum(0) / n, atol=1e-6)
    assert list(terms) == ["loss", "head", "head_raw"]


def test_parameters_without_a_part_in_the_loss_have_gradients_of_zero() -> None:
    """Such as those of the decoder, where a head is trained alone."""
    trained = model()
    objective = Objective(None, None, head=head())
    _, found = Autograd(trained, objective, CPU)(X, X, LABELS)
    n_decoder = len(list(trained.decoder.parameters()))
    moved = [bool((gradient != 0).any()) for gradient in found]
    assert moved == [True, True] + [False] * n_decoder + [True, True]


def test_noise_reaches_the_gradients() -> None:
    """With a linear decoder, d loss / d log variance = (d loss / d code) * noise * deviation / 2;
    the encoder's bias sums it over examples."""
    trained = model(ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0}))
    objective = Objective(MSE(reduction="sum"), None)
    gradients = Autograd(trained, objective, CPU)
    _, found = gradients(X, X, None, NOISE)
    named = dict(zip([name for name, _ in trained.named_parameters()], found, strict=True))
    linear = trained.linear_decoder()
    assert linear is not None
    with torch.no_grad():
        passed = trained(X, NOISE)
        log_variance = passed.pre_codes[:, N_LATENTS:]
        of_codes = 2.0 / 8 * (passed.x_hat - X).flatten(1) @ linear[0]
        of_log_variance = of_codes * NOISE * (0.5 * log_variance).exp() / 2
    (bias,) = [
        value for name, value in named.items() if name.startswith("encoder") and value.ndim == 1
    ]
    expected = torch.cat([of_codes.sum(0), of_log_variance.sum(0)])
    assert torch.allclose(bias, expected, atol=1e-5)


def test_no_gradients_by_hand_with_a_head_or_noise() -> None:
    """A chain has neither."""
    sampling = model(ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0}))
    plain = Objective(MSE(reduction="sum"), None)
    assert can_differentiate(model(), plain)
    assert not can_differentiate(sampling, plain)
    assert not can_differentiate(model(), Objective(MSE(reduction="sum"), None, head=head()))
    assert not can_differentiate(model(), Objective(None, None, head=head()))


def cases() -> dict[str, tuple[AutoEncoder, Objective, bool, Tensor | None]]:
    """Networks, objectives, whether only encoder and head are trained, and noise."""
    drawn = model(ACTIVATIONS.build({"name": "gaussian", "active_above": 0.0}))
    growing = GaussianKL(weight=0.8, warmup_steps=4)
    growing.after_step_()
    mse, sparse = MSE(reduction="sum"), L1(weight=0.3)
    return {
        "all terms": (model(), Objective(mse, sparse, head=head(0.5)), False, None),
        "head and encoder": (model(), Objective(None, None, head=head(0.5)), True, None),
        "sampling": (drawn, Objective(mse, growing), False, NOISE),
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", list(cases()))
def test_compiled_as_by_autograd(case: str) -> None:
    """The two agree within rounding, with labels, noise, a growing weight, some parameters."""
    trained, objective, partial, noise = cases()[case]
    parts = [*trained.encoder.parameters(), *objective.parameters()] if partial else None
    labels = None if objective.head is None else LABELS
    compiled = Compiled(trained, objective, CPU, 8, parts)
    autograd = Autograd(trained, objective, CPU, parts)
    assert [id(p) for p in compiled.parameters] == [id(p) for p in autograd.parameters]
    for _ in range(2):
        terms, gradients = compiled(X, X, labels, noise)
        wanted_terms, wanted = autograd(X, X, labels, noise)
        assert list(terms) == list(wanted_terms)
        for name, value in wanted_terms.items():
            assert float(terms[name]) == pytest.approx(float(value), rel=1e-5)
        for gradient, expected in zip(gradients, wanted, strict=True):
            assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        # By the second call the weight of a penalty may have grown.
        objective.after_step_()
