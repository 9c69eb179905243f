"""Stacked models: each gets the bits that it has alone, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_cli.core.company import run_side_by_side
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures.dense import dense
from sae_cli.model.autoencoder import AutoEncoder, Pass
from sae_cli.model.objective import Objective
from sae_cli.model.penalties.activity import KL, L1, L2, SquaredTarget
from sae_cli.model.penalties.group import Group
from sae_cli.model.penalties.penalty import ExamplePenalty, Penalty
from sae_cli.model.reconstruction import BCE, MSE, Reconstruction
from sae_cli.training.gradients import derivatives, rules
from sae_cli.training.gradients.by_hand import ByHand
from sae_cli.training.gradients.common import Common
from sae_cli.training.gradients.gradients import Gradients
from sae_cli.training.gradients.recording import TOO_LONG, Batch, Model, Result, record
from sae_cli.training.gradients.side_by_side import SideBySide, differentiate_all, why_apart
from sae_cli.training.gradients.stacked import ROUNDED_OTHERWISE, TRIALS, Stacked
from sae_cli.training.moving import Move, move_all
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer

ACTIVATIONS = list(derivatives.ACTIVATIONS)
N_FEATURES, WEIGHTS = 48, (0.0, 0.37, 2.5)
# A library may compute a stack of other shapes in another way than its parts.
EVEN, ODD = 32, 7


pytestmark = pytest.mark.usefixtures("one_thread")


def parts(
    seed: int,
    penalty: Penalty | None,
    *,
    n_latents: int = 32,
    activation: str = "sigmoid",
    reconstruction: Reconstruction | None = None,
    hidden_sizes: Sequence[int] = (),
    tied: bool = False,
    unit_norm: bool = False,
) -> tuple[Gradients, tuple[AutoEncoder, Objective]]:
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
    objective = Objective(by, penalty)
    return ByHand(made, objective), (made, objective)


def model(seed: int, penalty: Penalty | None, **shape: Any) -> Model:
    return Model(*parts(seed, penalty, **shape))


def batches(
    models: Sequence[Model], n: int, *, corrupted: bool = False, first: int = 0
) -> list[Batch]:
    """A batch of its own for each model."""
    made = []
    for seed, one in enumerate(models, start=first):
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
            assert one.squeeze().stride() == other.squeeze().stride()
            assert torch.equal(one, other)


def alone(given: Sequence[Batch]) -> list[Result]:
    return [one.differentiate() for one in given]


def stack_of(given: Sequence[Batch]) -> Stacked:
    recorded = [own for own in map(record, given) if own is not None]
    return Stacked(Common([one.model for one in given]), recorded)


def assert_stacked(models: Sequence[Model], n: int, *, corrupted: bool = False) -> Stacked:
    """Each of several steps gives what each model has alone, the last ones without trial."""
    stacked = stack_of(batches(models, n, corrupted=corrupted))
    for step in range(TRIALS + 2):
        given = batches(models, n, corrupted=corrupted, first=10 * step)
        own = alone(given)
        assert_same_bits(stacked(given), own)
        # A weight that has moved in is the same weight.
        assert_same_bits(alone(given), own)
    assert not stacked.fails
    assert_same_bits(stacked.replay(given), own)
    return stacked


def names(stacked: Stacked) -> list[str]:
    """The operations that each model does by itself."""
    return [stacked.program.operations[i][0].name for i in stacked.program.by_themselves]


def kl(weight: float) -> KL:
    return KL(weight=weight, target=0.1 + weight / 10, divide_by_batch_size=False)


def group(weight: float) -> Group:
    made = Group(
        weight=weight, sheet=[32], size=[4], stride=[2], wrap=True, sigma=1.0, epsilon=1e-6
    )
    assert isinstance(made, Group)
    return made


PENALTIES: dict[str, Callable[[float], Penalty]] = {
    "l2": lambda weight: L2(weight=weight),
    "target": lambda weight: SquaredTarget(
        weight=weight, target=0.1 + weight / 10, divide_by_batch_size=False
    ),
    "group": group,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n", [EVEN, ODD])
def test_each_activation(activation: str, n: int) -> None:
    models = [model(i, L1(weight=w), activation=activation) for i, w in enumerate(WEIGHTS)]
    stacked = assert_stacked(models, n)
    assert n == ODD or names(stacked) == ["new_full"]


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("n", [EVEN, ODD])
def test_each_penalty(penalty: str, n: int) -> None:
    models = [model(i, PENALTIES[penalty](w)) for i, w in enumerate(WEIGHTS)]
    assert_stacked(models, n)


@pytest.mark.parametrize("reconstruction", [MSE(reduction="sum"), BCE(reduction="mean")])
@pytest.mark.parametrize("corrupted", [False, True])
def test_each_reconstruction(reconstruction: Reconstruction, corrupted: bool) -> None:
    models = [model(i, kl(w), reconstruction=reconstruction) for i, w in enumerate(WEIGHTS)]
    assert_stacked(models, 32, corrupted=corrupted)


@pytest.mark.parametrize(
    "shape",
    [{"tied": True}, {"unit_norm": True}, {"hidden_sizes": (24, 16)}, {"n_latents": 16}],
    ids=str,
)
def test_each_shape(shape: dict[str, Any]) -> None:
    assert_stacked([model(i, None, **shape) for i in range(3)], 32)


@pytest.mark.parametrize(("n_latents", "n"), [(13, 32), (32, 3), (5, 1), (1, 7)])
def test_odd_sizes(n_latents: int, n: int) -> None:
    models = [model(i, kl(w), n_latents=n_latents) for i, w in enumerate(WEIGHTS)]
    stacked = stack_of(batches(models, n))
    for step in range(TRIALS + 3):
        given = batches(models, n, first=10 * step)
        assert_same_bits(stacked(given), alone(given))


@pytest.mark.parametrize("hot", [0, 1])
@pytest.mark.parametrize("n_latents", [2, 6, 16])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_first_batches_that_round_nothing(n: int, n_latents: int, hot: int) -> None:
    """Of examples with one number at most no product tells how a library sums."""
    models = [model(i, kl(w), n_latents=n_latents) for i, w in enumerate(WEIGHTS)]
    stacked = stack_of(batches(models, n))
    for step in range(TRIALS + 5):
        given = batches(models, n, first=10 * step)
        if step < TRIALS:
            for one in given:
                one.arguments[1][:, hot:] = 0
        assert_same_bits(stacked(given), alone(given))


def test_another_rounding_is_left_to_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products of all models are a little off; those of each are not."""
    monkeypatch.setitem(rules.RULES, "addmm", lambda single: off)
    stacked = assert_stacked([model(i, None) for i in range(3)], 32)
    assert names(stacked) == ["addmm"] * 2


def off(bias: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.baddbmm(bias[:, None], x * 1.0000001, y)


def test_what_agrees_in_no_way_is_computed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [model(i, None) for i in range(3)]
    stacked = stack_of(batches(models, 32))
    monkeypatch.setattr(Stacked, "_are", lambda *given: False)
    for _ in range(TRIALS + 2):
        given = batches(models, 32)
        assert_same_bits(stacked(given), alone(given))
    assert stacked.fails
    assert [[*one.apart.values()] for one in models] == [[ROUNDED_OTHERWISE]] * 3


def test_a_model_whose_weights_are_not_finite_leaves_the_others_alone() -> None:
    models = [model(i, kl(w)) for i, w in enumerate(WEIGHTS)]
    with torch.no_grad():
        models[1].own[0].fill_(torch.nan)
    stacked = stack_of(batches(models, 32))
    for step in range(TRIALS + 2):
        given = batches(models, 32, first=10 * step)
        found, own = stacked(given), alone(given)
        assert_same_bits(found[::2], own[::2])
        assert found[1][0]["loss"].isnan()
    assert not stacked.fails


def test_models_of_several_shapes_and_sizes_of_batch_come_together() -> None:
    models = [*(model(i, L1(weight=0.1)) for i in range(3)), model(3, None), model(4, kl(0.5))]
    given = [*batches(models[:2], 32), *batches(models[2:4], 16), *batches(models[4:], 32)]
    for order in (given, given[::-1], given[1:]):
        assert_same_bits(differentiate_all(order), alone(order))


def test_a_model_that_moves_between_stacks_keeps_its_weights() -> None:
    """Its company changes from step to step, and its weights go on being moved in place."""
    models = [model(i, L1(weight=0.1)) for i in range(3)]
    twins = [model(i, L1(weight=0.1)) for i in range(3)]
    for some in ([0, 1, 2], [0, 2], [1], [2, 1], *[[0, 1, 2]] * 4, [2, 0], *[[0, 1, 2]] * 2):
        found = differentiate_all([batches(models, 32)[i] for i in some])
        own = alone([batches(twins, 32)[i] for i in some])
        assert_same_bits(found, own)
        for i, (_, gradients), (_, own_gradients) in zip(some, found, own, strict=True):
            descend(models[i], gradients)
            descend(twins[i], own_gradients)
    for one, twin in zip(models, twins, strict=True):
        assert all(map(torch.equal, one.own, twin.own))


@torch.no_grad()
def descend(one: Model, gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(one.gradients.parameters, gradients, strict=True):
        parameter.sub_(0.1 * gradient)


class OwnPenalty(ExamplePenalty):
    """A part of the user's own, of which nobody knows what it keeps."""

    def per_example(self, codes: Tensor) -> Tensor:
        return codes.abs().sum(1)


class OwnLoss(Reconstruction):
    """Another one."""

    def elementwise_sum(self, passed: Pass, target: Tensor) -> Tensor:
        return (passed.x_hat - target).abs().sum()


def test_who_can_be_stacked() -> None:
    gradients, modules = parts(0, None)
    assert why_apart(gradients, modules) is None
    assert why_apart(*parts(0, None, n_latents=20_000)) == TOO_LONG
    for own in (
        Objective(MSE(reduction="mean"), OwnPenalty(weight=1.0)),
        Objective(OwnLoss(reduction="mean"), None),
    ):
        assert "parts of your own" in str(why_apart(gradients, (modules[0], own)))
    modules[0].register_forward_hook(lambda *given: None)
    assert "parts of your own" in str(why_apart(gradients, modules))


def test_a_large_network_does_not_wait_for_others() -> None:
    own = [parts(i, None, n_latents=n) for i, n in enumerate((2000, 2000, 32))]
    given, order = batches([Model(*one) for one in own], 4), list[int]()

    def differentiate(i: int) -> None:
        gradients = SideBySide(*own[i])
        for _ in range(3):
            gradients(*given[i].arguments)
        assert gradients.side_by_side == (i == 2)
        order.append(i)

    run_side_by_side([partial(differentiate, i) for i in range(3)])
    assert order == [0, 1, 2]


def test_large_networks_gain_nothing() -> None:
    for n_latents, gains in ((32, True), (2000, False)):
        (given,) = batches([model(0, None, n_latents=n_latents)], 4)
        assert (record(given) is not None) == gains
        assert [*given.model.apart.values()] == ([] if gains else [TOO_LONG])


def test_why_batches_of_the_usual_size_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller last batches, which agree, do not hide it."""
    agree = Stacked._agree

    def unless_usual(self: Stacked, *given: Any) -> bool:
        return self._recorded[0].tape.layouts[0].shape[0] != EVEN and agree(self, *given)

    monkeypatch.setattr(Stacked, "_agree", unless_usual)
    own = [parts(i, L1(weight=w)) for i, w in enumerate(WEIGHTS)]
    models = [Model(*one) for one in own]
    said: list[str | None] = []

    def differentiate(i: int) -> None:
        gradients = SideBySide(*own[i])
        for n in (EVEN, ODD) * 3:
            given = batches(models, n)[i]
            gradients(*given.arguments)
        said.append(gradients.apart)

    run_side_by_side([partial(differentiate, i) for i in range(3)])
    assert said == [ROUNDED_OTHERWISE] * 3


def test_gradients_meet_only_in_company() -> None:
    own = [parts(i, L1(weight=w)) for i, w in enumerate(WEIGHTS)]
    given = batches([Model(*one) for one in own], 32)
    found: dict[int, Result] = {}
    one: Gradients = SideBySide(*own[0])
    assert_same_bits([one(*given[0].arguments)], alone(given[:1]))

    def differentiate(i: int) -> None:
        found[i] = SideBySide(*own[i])(*given[i].arguments)

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
