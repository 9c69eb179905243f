"""Gradients by the active pairs alone, against autograd in float64 over dense codes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from sae_cli.assembly.compute import build_gradients
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.prepare import prepare
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.activity import L1
from sae_cli.model.reconstruction import MSE, Nested, Reconstruction, Reduction
from sae_cli.training.devices import Device
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.sparse import Sparse, can_be_sparse
from sae_cli.training.revivals.auxk import AuxK
from tests.conftest import Configure

CPU = Device(torch.device("cpu"))
SAE: dict[str, Any] = {
    "name": "sae",
    "n_latents": 48,
    "expansion_factor": None,
    "subtract_bias": True,
    "bias_init": "zeros",
    "tied_init": False,
    "unit_norm_decoder": True,
    "init": "glorot_uniform",
}


def drawn(activation: TopK | BatchTopK, **options: Any) -> AutoEncoder:
    """An auto-encoder of 12 features whose biases are not zero."""
    generator = Generator().manual_seed(0)
    made = ARCHITECTURES.build(SAE | options, DataShape((12,), None), activation, generator)
    activation.fit_to_([made.n_latents])
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return made


def batch(n: int) -> Tensor:
    return torch.randn(n, 12, generator=Generator().manual_seed(1))


@pytest.mark.parametrize("activation", [TopK(k=5), BatchTopK(k=5, threshold_rate=0.1)])
@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_against_autograd_in_float64(
    activation: TopK | BatchTopK, unit_norm: bool, subtract: bool, reduction: Reduction
) -> None:
    model = drawn(activation, unit_norm_decoder=unit_norm, subtract_bias=subtract)
    objective = Objective(MSE(reduction=reduction), None)
    x, target = batch(33), batch(33) + 0.1
    assert can_be_sparse(model, objective)
    # A deep copy would still subtract the bias of the first decoder.
    exact = drawn(
        deepcopy(activation), unit_norm_decoder=unit_norm, subtract_bias=subtract
    ).double()
    terms, found = Sparse(model, objective)(x, target)
    expected, gradients = Autograd(exact, objective, CPU)(x.double(), target.double())
    assert float(terms["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)
    if isinstance(activation, BatchTopK):
        learned = exact.activation
        assert isinstance(learned, BatchTopK)
        torch.testing.assert_close(activation.threshold.double(), learned.threshold.double())


@pytest.mark.parametrize("activation", [TopK(k=5), BatchTopK(k=5, threshold_rate=0.1)])
@pytest.mark.parametrize("prefixes", [[0.5], [1, 2, 47], [7, 12, 30]])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_prefixes_against_autograd_in_float64(
    activation: TopK | BatchTopK, prefixes: list[float], reduction: Reduction
) -> None:
    nested = Nested(reduction=reduction, prefixes=prefixes)
    model, exact = drawn(activation), drawn(deepcopy(activation)).double()
    objective = Objective(nested.for_network(model), None)
    assert can_be_sparse(model, objective)
    x, target = batch(33), batch(33) + 0.1
    terms, found = Sparse(model, objective)(x, target)
    of_exact = Autograd(exact, Objective(nested.for_network(exact), None), CPU)
    expected, gradients = of_exact(x.double(), target.double())
    assert float(terms["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
    for one, other in zip(found, gradients, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", [TopK(k=5), BatchTopK(k=5, threshold_rate=0.1)])
@pytest.mark.parametrize("unit_norm", [True, False])
@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("k_aux", [4, 40])
@pytest.mark.parametrize("n_dead", [0, 11, 48])
@pytest.mark.parametrize("prefixes", [None, [0.1], [1, 12, 30]])
def test_with_dead_latents_against_autograd_in_float64(
    activation: TopK | BatchTopK,
    unit_norm: bool,
    subtract: bool,
    k_aux: int,
    n_dead: int,
    prefixes: list[float] | None,
) -> None:
    model = drawn(activation, unit_norm_decoder=unit_norm, subtract_bias=subtract)
    exact = drawn(
        deepcopy(activation), unit_norm_decoder=unit_norm, subtract_bias=subtract
    ).double()
    found = []
    for made in (model, exact):
        mean: Reconstruction = MSE(reduction="mean")
        if prefixes is not None:
            mean = Nested(reduction="mean", prefixes=prefixes).for_network(made)
        term = AuxK(made, mean, weight=0.7, k_aux=k_aux, dead_after=100, scale_free=True)
        term.idle[:n_dead] = 100
        # A third of the dead are active once more.
        encoder = made.encoder.get_submodule("2" if subtract else "1")
        assert isinstance(encoder, nn.Linear)
        encoder.bias.data[n_dead // 3 : n_dead] -= 4.0
        found.append((term, Objective(mean, None, further={"auxk": term})))
    (term, objective), (exact_term, exact_objective) = found
    assert can_be_sparse(model, objective)
    x, target = batch(33), batch(33) + 0.1
    terms, gradients = Sparse(model, objective)(x, target)
    expected, exact_gradients = Autograd(exact, exact_objective, CPU)(x.double(), target.double())
    assert list(terms) == list(expected)
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-5)
    assert (float(terms["auxk"]) > 0.0) == (n_dead > 0)
    for one, other in zip(gradients, exact_gradients, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)
    assert torch.equal(term.idle, exact_term.idle)
    assert term.report_() == exact_term.report_()


def test_a_latent_that_nobody_activates_has_no_gradient() -> None:
    model = drawn(TopK(k=2))
    with torch.no_grad():
        model.encoder[-1].bias[7] = -100.0  # type: ignore[index]
    names = [name for name, _ in model.named_parameters()]
    _, gradients = Sparse(model, Objective(MSE(reduction="sum"), None))(batch(9), batch(9))
    found = dict(zip(names, gradients, strict=True))
    assert found["encoder.2.weight"][7].count_nonzero() == 0
    assert found["encoder.2.weight"].count_nonzero() > 0
    assert found["decoder.0.parametrizations.weight.original"][:, 7].count_nonzero() == 0


def test_the_largest_of_millions_are_those_of_a_sort() -> None:
    activation = BatchTopK(k=4, threshold_rate=0.1)
    pre_codes = torch.randn(128, 1024, generator=Generator().manual_seed(2))
    codes, places = activation.kept(pre_codes)
    expected = pre_codes.flatten().sort(descending=True).values[:512]
    assert torch.equal(codes.sort(descending=True).values, expected)
    assert torch.equal(pre_codes.flatten()[places], codes)


@pytest.mark.parametrize(("width", "k"), [(1024, 4), (4096, 32), (1000, 5), (1 << 14, 64), (64, 9)])
def test_the_largest_of_each_row_are_those_of_a_sort(width: int, k: int) -> None:
    pre_codes = torch.randn(50, width, generator=Generator().manual_seed(width))
    codes, places = TopK(k=k).kept(pre_codes)
    expected = pre_codes.numpy().argsort(axis=1)[:, -k:]
    assert (np.sort(places.numpy(), axis=1) == np.sort(expected, axis=1)).all()
    assert torch.equal(pre_codes.gather(1, places).relu(), codes)


def test_of_equal_values_no_more_are_kept_than_make_k() -> None:
    # Each value occurs in several groups, and in one group several times.
    pre_codes = torch.randint(3, (200, 4096), generator=Generator().manual_seed(3)).float()
    codes, places = TopK(k=32).kept(pre_codes)
    assert codes.sum() == 200 * 32 * 2
    assert all(len(set(row)) == 32 for row in places.tolist())


def test_where_it_does_not_fit_autograd_does() -> None:
    objective = Objective(MSE(reduction="sum"), None)
    assert not can_be_sparse(drawn(TopK(k=7)), objective)
    assert not can_be_sparse(drawn(TopK(k=5)), Objective(MSE(reduction="sum"), L1(weight=1.0)))


@pytest.mark.parametrize("page", ["topk", "batch_topk", "matryoshka"])
@pytest.mark.parametrize("revival", ["none", "auxk", "resample"])
def test_runs_of_few_active_codes_take_it(page: str, revival: str, configure: Configure) -> None:
    config = configure(f"model={page}", "device=cpu", f"revival={revival}")
    training = prepare(config, build_parts(config)).training
    made = build_gradients(config, training.device, training.stages[0])
    assert type(made) is Sparse
