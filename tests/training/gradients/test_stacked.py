"""Stacked models: each gets the bits that it has alone, whatever it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_cli.core.company import run_side_by_side
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.dense import dense
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.activity import KL, L1, SquaredTarget
from sae_cli.model.penalties.penalty import Penalty
from sae_cli.model.reconstruction import BCE, MSE, Reconstruction
from sae_cli.training.gradients import derivatives
from sae_cli.training.gradients.by_hand import ByHand
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.side_by_side import SideBySide, can_stack, differentiate_all
from sae_cli.training.gradients.stacked import Batch, Result, Stacked
from sae_cli.training.moving import Move, move_all
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer

ACTIVATIONS = list(derivatives.ACTIVATIONS)
N_FEATURES, WEIGHTS = 48, (0.0, 0.37, 2.5)
# A library may compute a stack of other shapes in another way than its parts.
EVEN, ODD = (32, 32), (7, 13)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model(
    seed: int,
    penalty: Penalty | None,
    *,
    n_latents: int = 32,
    activation: str = "sigmoid",
    reconstruction: Reconstruction | None = None,
    hidden_sizes: Sequence[int] = (),
    tied: bool = False,
    unit_norm: bool = False,
) -> ByHand:
    by = MSE(reduction="mean") if reconstruction is None else reconstruction
    made = dense(
        DataShape((N_FEATURES,), None),
        Pointwise(activation, 0.0),
        torch.Generator().manual_seed(seed),
        hidden_sizes=list(hidden_sizes),
        hidden_activations=["selu"],
        n_latents=n_latents,
        expansion_factor=None,
        output_activation="sigmoid" if isinstance(by, BCE) else "identity",
        tied=tied,
        unit_norm_decoder=unit_norm,
        init="torch_default",
    )
    return ByHand(made, Objective(by, penalty))


def batches(models: Sequence[ByHand], n: int, *, corrupted: bool = False) -> list[Batch]:
    """A batch of its own for each model."""
    made = []
    for seed, one in enumerate(models):
        target = torch.rand(n, N_FEATURES, generator=torch.Generator().manual_seed(seed))
        made.append(Batch(one, target * 0.9 if corrupted else target, target))
    return made


def assert_same_bits(found: Sequence[Result], own: Sequence[Result]) -> None:
    for (terms, gradients), (own_terms, own_gradients) in zip(found, own, strict=True):
        assert list(terms) == list(own_terms)
        for name, value in terms.items():
            assert torch.equal(value, own_terms[name]), name
        for one, other in zip(gradients, own_gradients, strict=True):
            # Fused optimizers go through gradients without looking at their strides.
            assert one.stride() == other.stride()
            assert torch.equal(one, other)


def alone(given: Sequence[Batch]) -> list[Result]:
    return [one.model(one.x, one.target) for one in given]


def kl(weight: float) -> KL:
    return KL(weight=weight, target=0.1 + weight / 10, divide_by_batch_size=False)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n", EVEN[:1] + ODD[:1])
def test_each_activation(activation: str, n: int) -> None:
    models = [model(i, L1(weight=w), activation=activation) for i, w in enumerate(WEIGHTS)]
    given = batches(models, n)
    own = alone(given)
    # A weight that has moved in is the same weight.
    assert_same_bits(Stacked(models)._differentiate(given), own)
    assert_same_bits(alone(given), own)


@pytest.mark.parametrize("reconstruction", [MSE(reduction="sum"), BCE(reduction="mean")])
@pytest.mark.parametrize("corrupted", [False, True])
def test_each_reconstruction(reconstruction: Reconstruction, corrupted: bool) -> None:
    models = [model(i, kl(w), reconstruction=reconstruction) for i, w in enumerate(WEIGHTS)]
    given = batches(models, 32, corrupted=corrupted)
    assert_same_bits(Stacked(models)._differentiate(given), alone(given))


@pytest.mark.parametrize(
    "shape",
    [{"tied": True}, {"unit_norm": True}, {"hidden_sizes": (24, 16)}, {"n_latents": 16}],
    ids=str,
)
def test_each_shape(shape: dict[str, Any]) -> None:
    models = [model(i, None, **shape) for i in range(3)]
    given = batches(models, 32)
    assert_same_bits(Stacked(models)._differentiate(given), alone(given))


@pytest.mark.parametrize(("n_latents", "n"), [(13, 32), (32, 3), (5, 1), (1, 7)])
def test_odd_sizes_fall_back_where_a_stack_rounds_otherwise(n_latents: int, n: int) -> None:
    models = [model(i, kl(w), n_latents=n_latents) for i, w in enumerate(WEIGHTS)]
    stacked = Stacked(models)
    for _ in range(6):
        given = batches(models, n)
        assert_same_bits(stacked(given), alone(given))


def test_another_rounding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bias is added after the product, which rounds once more than to begin with it."""
    models = [model(i, None) for i in range(3)]
    for one in models:
        torch.nn.init.normal_(one.own[0][1])
    monkeypatch.setattr(torch, "baddbmm", lambda bias, x, y: (x * 1.0000001).bmm(y) + bias)
    stacked, given = Stacked(models), batches(models, 32)
    for _ in range(5):
        assert_same_bits(stacked(given), alone(given))
    monkeypatch.setattr(Stacked, "_differentiate", None)
    assert_same_bits(stacked(given), alone(given))


def test_models_of_several_shapes_and_sizes_of_batch_come_together() -> None:
    models = [*(model(i, L1(weight=0.1)) for i in range(3)), model(3, None), model(4, kl(0.5))]
    given = [*batches(models[:2], 32), *batches(models[2:4], 16), *batches(models[4:], 32)]
    for order in (given, given[::-1], given[1:]):
        assert_same_bits(differentiate_all(order), alone(order))


def test_a_model_that_moves_between_stacks_keeps_its_weights() -> None:
    """Its company changes from step to step, and its weights go on being moved in place."""
    models = [model(i, L1(weight=0.1)) for i in range(3)]
    twins = [model(i, L1(weight=0.1)) for i in range(3)]
    for some in ([0, 1, 2], [0, 2], [1], [2, 1], [0, 1, 2], [2, 0], [0, 1, 2]):
        found = differentiate_all([batches(models, 32)[i] for i in some])
        own = alone([batches(twins, 32)[i] for i in some])
        assert_same_bits(found, own)
        for i, (_, gradients), (_, own_gradients) in zip(some, found, own, strict=True):
            descend(models[i], gradients)
            descend(twins[i], own_gradients)
    for one, twin in zip(models, twins, strict=True):
        assert all(map(torch.equal, one.parameters, twin.parameters))


@torch.no_grad()
def descend(one: ByHand, gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(one.parameters, gradients, strict=True):
        parameter.sub_(0.1 * gradient)


def test_who_can_be_stacked() -> None:
    assert can_stack(model(0, None))
    assert not can_stack(
        model(0, SquaredTarget(weight=1.0, target=0.1, divide_by_batch_size=False))
    )
    assert not can_stack(model(0, None, n_latents=2000))


def test_gradients_meet_only_in_company() -> None:
    models = [model(i, L1(weight=w)) for i, w in enumerate(WEIGHTS)]
    given, found = batches(models, 32), {}
    one: Gradients = SideBySide(models[0])
    assert_same_bits([one(given[0].x, given[0].target)], alone(given[:1]))

    def differentiate(i: int) -> None:
        found[i] = SideBySide(models[i])(given[i].x, given[i].target)

    run_side_by_side([partial(differentiate, i) for i in range(3)])
    assert_same_bits([found[i] for i in range(3)], alone(given))


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.names if name != "lbfgs"])
def test_optimizers_that_step_together(name: str) -> None:
    """Those with the same options and learning rate in one call, the others in another."""
    together, apart = ([_optimizer(name, i) for i in range(4)] for _ in range(2))
    rates = [0.1, 0.1, 0.02, 0.1]
    for step in range(5):
        gradients = [
            [drawn(p, 10 * step + i) for p in own.parameters] for i, own in enumerate(apart)
        ]
        copies = [[g.clone() for g in own] for own in gradients]
        move_all([Move(*one) for one in zip(together, gradients, rates, strict=True)])
        for one, own, rate in zip(apart, copies, rates, strict=True):
            one.step(own, rate)
    for one, other in zip(together, apart, strict=True):
        assert all(map(torch.equal, one.parameters, other.parameters))
        for key in one.state:
            assert all(map(torch.equal, one.state[key], other.state[key]))


def drawn(like: Tensor, seed: int) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def _optimizer(name: str, i: int) -> Optimizer:
    generator = torch.Generator().manual_seed(i)
    shapes = ((5, 7), (5,), ())
    parameters = [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in shapes]
    options = OPTIMIZERS.schema(name).model_fields
    given = {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "beta1": 0.9,
        "beta2": 0.99,
        "alpha": 0.9,
        "eps": 1e-8,
        # The last one has an option of its own.
        "weight_decay": 0.1 if i == 3 else 0.01,
    }
    section = {"name": name, **{key: given[key] for key in options}}
    made = OPTIMIZERS.build(section, parameters)
    assert isinstance(made, Optimizer)
    return made
