"""Gradients by hand and compiled against those of autograd."""

from __future__ import annotations

import copy
from itertools import product
from typing import cast, final

import pytest
import torch
from torch import Generator, Tensor, nn

from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.activation import Activation
from sae_cli.model.activations.jumprelu import JumpReLU
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.model.architectures.dense import dense
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.activity import KL, L1, L2, SquaredTarget
from sae_cli.model.penalties.gaussian_kl import GaussianKL
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.model.penalties.roles import for_network
from sae_cli.model.penalties.weighted import L0
from sae_cli.model.reconstruction import BCE, MSE, Reconstruction
from sae_cli.training.devices import Device
from sae_cli.training.gradients import derivatives
from sae_cli.training.gradients.autograd import Autograd
from sae_cli.training.gradients.by_hand import ByHand, can_differentiate
from sae_cli.training.gradients.compiled import Compiled
from sae_cli.training.gradients.gradients import Gradients
from tests.model.sparse import small

CPU = Device(torch.device("cpu"))
N_FEATURES = 60
ACTIVATIONS = list(derivatives.ACTIVATIONS)
PENALTIES: list[Penalty | None] = [
    None,
    L1(weight=0.37),
    L2(weight=0.37),
    KL(weight=0.37, target=0.1, divide_by_batch_size=False),
    SquaredTarget(weight=0.37, target=0.1, divide_by_batch_size=False),
]
RECONSTRUCTIONS = [MSE(reduction="mean"), MSE(reduction="sum"), BCE(reduction="mean")]


def model(
    activation: ActivationName = "sigmoid",
    output: ActivationName = "identity",
    hidden_sizes: tuple[int, ...] = (17,),
    tied: bool = False,
    unit_norm: bool = False,
) -> AutoEncoder:
    return dense(
        DataShape((3, N_FEATURES // 3), None),
        Pointwise(activation, 0.1),
        Generator().manual_seed(0),
        hidden_sizes=list(hidden_sizes),
        hidden_activations=["selu"],
        n_latents=11,
        expansion_factor=None,
        output_activation=output,
        tied=tied,
        unit_norm_decoder=unit_norm,
        init="torch_default",
    )


def output_for(reconstruction: Reconstruction) -> ActivationName:
    return "sigmoid" if isinstance(reconstruction, BCE) else "tanh"


def batch(size: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """An input and another target."""
    x, target = torch.rand(2, size, 3, N_FEATURES // 3, generator=Generator().manual_seed(size))
    return x * scale, target


def assert_same(one: Gradients, other: Gradients, x: Tensor, target: Tensor) -> None:
    """Compare to the last bit, except the value of the cross-entropy, computed otherwise."""
    terms, gradients = one(x, target)
    wanted_terms, wanted = other(x, target)
    for name, value in wanted_terms.items():
        assert torch.allclose(terms[name], value, rtol=2e-6)
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize(("tied", "unit_norm"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_by_hand_as_by_autograd(activation: ActivationName, tied: bool, unit_norm: bool) -> None:
    for hidden_sizes, reconstruction, penalty in product(
        [(), (17, 13)], RECONSTRUCTIONS, PENALTIES
    ):
        if isinstance(penalty, KL) and activation != "sigmoid":
            continue
        output = output_for(reconstruction)
        trained = model(activation, output, hidden_sizes, tied, unit_norm)
        objective = Objective(reconstruction, penalty)
        assert can_differentiate(trained, objective)
        by_hand, autograd = ByHand(trained, objective), Autograd(trained, objective, CPU)
        for size in (1, 32):
            assert_same(by_hand, autograd, *batch(size))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_derivative_of_every_activation(activation: ActivationName) -> None:
    """Check far-out values as well, and where pieces meet."""
    x = torch.cat([torch.linspace(-40, 40, 501), torch.tensor([0.0, 3.0, -3.0])]).requires_grad_()
    y = Pointwise(activation)(x)
    upstream = torch.rand(len(x), generator=Generator().manual_seed(0))
    (wanted,) = torch.autograd.grad(y, x, upstream)
    found = derivatives.ACTIVATIONS[activation](upstream, x.detach(), y.detach())
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("penalty", PENALTIES[1:], ids=lambda penalty: type(penalty).__name__)
def test_penalties_at_the_edges(penalty: Penalty) -> None:
    """Check latents that are always off, always on, or sometimes on."""
    codes = torch.rand(8, 5, generator=Generator().manual_seed(0))
    codes[:, 0], codes[:, 1] = 0.0, 1.0
    value, gradient = derivatives.of_penalty(penalty, codes)
    leaf = codes.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(penalty.weight * penalty(leaf), leaf)
    assert torch.equal(value, penalty(codes))
    assert torch.equal(gradient.expand_as(wanted), wanted)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1000.0])
def test_the_cross_entropy_by_hand_for_any_logits(scale: float) -> None:
    """Check probabilities that round to 0 and 1 as well."""
    bce = BCE(reduction="sum")
    logits = torch.randn(64, 50, generator=Generator().manual_seed(0)) * scale
    target = torch.rand(64, 50, generator=Generator().manual_seed(1))
    passed = model()(batch(1)[0])._replace(pre_x_hat=logits, x_hat=logits.sigmoid())
    for wanted in (target, (logits > 0).float()):
        value, _ = derivatives.RECONSTRUCTIONS[BCE].value_and_gradient(bce, passed, wanted)
        exact = nn.functional.binary_cross_entropy_with_logits(
            logits.double(), wanted.double(), reduction="sum"
        )
        # A perfect fit leaves the last bit of each of the 50 logits.
        assert float(value) == pytest.approx(float(exact) / 64, rel=2e-6, abs=50 * scale * 1e-7)


def dense_around(*parts: nn.Module) -> AutoEncoder:
    encoder = nn.Sequential(*parts)
    return AutoEncoder(encoder, Pointwise("relu"), nn.Linear(2, 2), Pointwise("identity"), 2)


def test_networks_that_are_not_a_chain() -> None:
    class Masked(nn.Linear):
        pass

    class Skipping(nn.Sequential):
        pass

    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, given, made: 2 * made)
    objective = Objective(MSE(reduction="mean"), None)
    for part in (nn.Conv1d(3, 3, 1), nn.Dropout(), Masked(2, 2), Skipping(nn.Linear(2, 2)), hooked):
        assert not can_differentiate(dense_around(nn.Flatten(), part), objective)
    assert not can_differentiate(dense_around(nn.Linear(2, 2), nn.Flatten()), objective)
    learned = Objective(MSE(reduction="mean"), cast(Penalty, nn.Linear(2, 2)))
    assert can_differentiate(model(), objective)
    assert can_differentiate(dense_around(nn.Flatten(), nn.Linear(2, 2)), objective)
    assert not can_differentiate(model(), learned)
    growing = GaussianKL(weight=1.0, warmup_steps=4)
    assert not can_differentiate(model(), Objective(MSE(reduction="mean"), growing))


def test_an_activation_without_an_entry_is_left_to_autograd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective = Objective(MSE(reduction="mean"), None)
    assert can_differentiate(model("tanh"), objective)
    monkeypatch.delitem(derivatives.ACTIVATIONS, "tanh")
    assert not can_differentiate(model("tanh"), objective)


def test_a_reconstruction_without_an_entry_is_left_to_autograd() -> None:
    @final
    class Absolute(Reconstruction):
        def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
            return (passed.x_hat - target).abs().sum()

    assert not can_differentiate(model(), Objective(Absolute(reduction="mean"), None))


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS[1:], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
def test_no_part_has_a_tensor_of_its_own(
    penalty: Penalty | None, reconstruction: Reconstruction
) -> None:
    """Parts are made on the CPU and the network is elsewhere; like a GPU, the meta device refuses
    tensors of the CPU that have a dimension."""
    output = output_for(reconstruction)
    with torch.device("meta"):
        trained = model(output=output)
        x = torch.zeros(4, 3, N_FEATURES // 3)
    _, gradients = ByHand(trained, Objective(reconstruction, penalty))(x, x)
    assert all(gradient.is_meta for gradient in gradients)


def test_an_activation_may_be_used_twice() -> None:
    """The same object serves between layers and for the codes."""
    shared = Pointwise("tanh")
    layers = nn.Sequential(nn.Flatten(), nn.Linear(N_FEATURES, 7), shared, nn.Linear(7, 5))
    back = nn.Sequential(nn.Linear(5, N_FEATURES), nn.Unflatten(1, (3, N_FEATURES // 3)))
    twice = AutoEncoder(layers, shared, back, shared, 5)
    objective = Objective(MSE(reduction="mean"), L1(weight=0.37))
    assert_same(ByHand(twice, objective), Autograd(twice, objective, CPU), *batch(8))


@pytest.mark.slow
@pytest.mark.parametrize("unit_norm", [True, False])
def test_compiled_as_by_autograd(unit_norm: bool) -> None:
    """The two agree within rounding; a smaller last batch goes to autograd itself."""
    trained = model(output="sigmoid", unit_norm=unit_norm, tied=unit_norm)
    objective = Objective(BCE(reduction="mean"), PENALTIES[3])
    compiled = Compiled(trained, objective, CPU, 32)
    autograd = Autograd(trained, objective, CPU)
    terms, gradients = compiled(*batch(32))
    wanted_terms, wanted = autograd(*batch(32))
    for name, value in wanted_terms.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-5)
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert_same(compiled, autograd, *batch(7))


@pytest.mark.parametrize(
    ("activation", "penalty"),
    [
        (BatchTopK(k=3, threshold_rate=0.1), None),
        pytest.param(TopK(k=3), None, marks=pytest.mark.slow),
        pytest.param(
            JumpReLU(threshold=0.1, bandwidth=0.5),
            L0(weight=0.1, warmup_steps=3),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sparse_ones_compiled_as_by_autograd(
    activation: Activation, penalty: Penalty | None
) -> None:
    x = torch.randn(8, 6, generator=Generator().manual_seed(0))
    ways, learned = [], []
    for way in (Compiled, Autograd):
        trained = small(copy.deepcopy(activation), unit_norm_decoder=True).float()
        objective = Objective(MSE(reduction="sum"), for_network(penalty, trained))
        for _ in range(2):
            objective.after_step_()
        args = (8,) if way is Compiled else ()
        assert not can_differentiate(trained, objective)
        ways.append(way(trained, objective, CPU, *args)(x, x))
        learned.append(dict(trained.named_buffers()))
    (terms, gradients), (wanted_terms, wanted) = ways
    for name, value in wanted_terms.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=1e-5)
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert torch.allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    for name, buffer in learned[1].items():
        assert buffer > 0.0
        assert torch.allclose(learned[0][name], buffer)


@pytest.mark.slow
def test_any_number_of_networks_can_be_compiled() -> None:
    """A sweep compiles one after the other; PyTorch keeps eight programs of one function."""
    for number in range(10):
        objective = Objective(MSE(reduction="mean"), None)
        tiny = dense_around(nn.Flatten(), nn.Linear(3 + number, 2))
        compiled = Compiled(tiny, objective, CPU, 4)
        x = torch.rand(4, 3 + number, generator=Generator().manual_seed(0))
        terms, _ = compiled(x, torch.zeros(4, 2))
        assert torch.isfinite(terms["loss"])
