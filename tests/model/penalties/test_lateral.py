"""Lateral inhibition: against NumPy, its structures, and its effect on inferred codes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.model.inference import INFERENCES, energy
from sae_cli.model.penalties import PENALTIES
from sae_cli.model.penalties.lateral import Lateral, Learned, Tree

CODES = np.random.default_rng(0).normal(size=(7, 6))


def penalty(name: str, n_latents: int = 6, **options: Any) -> Lateral:
    defaults: dict[str, dict[str, Any]] = {
        "lateral": {"block_size": 2},
        "lateral_tree": {"branching": 2, "n_trees": 1},
        "lateral_learned": {"bound": 1.0, "row_sum": 2.0, "ascent_rate": 1.0},
    }
    section = {"name": name, "weight": 1.0} | defaults[name] | options
    made = PENALTIES.build(PENALTIES.check(section))
    assert isinstance(made, Lateral)
    bound = made.for_codes((n_latents,)).double()
    assert isinstance(bound, Lateral)
    return bound


def matrix(made: Lateral) -> np.ndarray:
    return made.inhibition().detach().numpy()


def learned(n_latents: int = 6, **options: Any) -> Learned:
    made = penalty("lateral_learned", n_latents, **options)
    assert isinstance(made, Learned)
    return made


@pytest.mark.parametrize("name", ["lateral", "lateral_tree", "lateral_learned"])
def test_against_numpy(name: str) -> None:
    made = penalty(name)
    s, a = matrix(made), np.abs(CODES)
    expected = np.array([example @ s @ example for example in a])
    codes = torch.from_numpy(CODES)
    assert np.allclose(made.per_example(codes).detach().numpy(), expected)
    assert float(made(codes).detach()) == pytest.approx(expected.mean())
    shrunk = np.sign(CODES) * np.maximum(0, a - 0.1 * 2 * a @ s)
    assert np.allclose(made.shrink_from(codes, codes, 0.1).detach().numpy(), shrunk)


def test_blocks() -> None:
    expected = 1 - np.kron(np.eye(3), np.ones((2, 2)))
    assert np.array_equal(matrix(penalty("lateral")), expected)
    assert np.array_equal(matrix(penalty("lateral", block_size=1)), 1 - np.eye(6))


@pytest.mark.parametrize(("branching", "n_trees"), [(2, 1), (3, 1), (2, 3)])
def test_a_tree_is_zero_between_ancestors_and_descendants_alone(
    branching: int, n_trees: int
) -> None:
    n = 20
    made = penalty("lateral_tree", n, branching=branching, n_trees=n_trees)
    found = matrix(made)
    parents = {i: (i - n_trees) // branching for i in range(n_trees, n)}
    assert isinstance(made, Tree)
    assert made.parents.tolist() == [parents.get(i, -1) for i in range(n)]
    for i in range(n):
        children = [node for node, parent in parents.items() if parent == i]
        assert len(children) <= branching
        ancestors, node = set(), i
        while node in parents:
            node = parents[node]
            ancestors.add(node)
        for j in range(i):
            assert found[i, j] == found[j, i] == float(j not in ancestors)
        assert found[i, i] == 0


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("lateral", {"block_size": 4}, "does not divide 6 latents"),
        ("lateral", {"block_size": 6}, "two blocks or more"),
        ("lateral_tree", {"n_trees": 6}, "choose fewer trees"),
        ("lateral_learned", {"row_sum": 5.1}, "give a smaller row_sum"),
    ],
)
def test_options_that_do_not_fit_the_number_of_latents(
    name: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        penalty(name, **options)


def assert_allowed(made: Learned) -> None:
    s = matrix(made)
    assert np.allclose(s, s.T, atol=1e-12)
    assert not np.diag(s).any()
    assert s.min() >= 0
    assert s.max() <= made.bound
    assert np.abs(s.sum(1) - made.row_sum).max() < 1e-3 * made.row_sum


@pytest.mark.parametrize("ascent_rate", [0.5, 4.0])
def test_learned_inhibition_rises_and_stays_where_it_is_allowed(ascent_rate: float) -> None:
    """The optimizer lowers the loss; S ascends it, codes do not."""
    made = learned(12, ascent_rate=ascent_rate)
    codes = torch.rand(30, 12, generator=Generator().manual_seed(0)).double() ** 4
    codes.requires_grad_()
    optimizer = torch.optim.SGD(made.parameters(), 0.3 / ascent_rate**2)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        value = made(codes)
        value.backward()
        optimizer.step()
        made.after_step_()
        assert_allowed(made)
        values.append(float(value.detach()))
    assert all(later >= now - 1e-5 for now, later in pairwise(values))
    assert values[-1] > 1.02 * values[0]
    assert codes.grad is not None
    assert float(codes.grad.min()) >= 0


def test_a_projection_is_the_nearest_allowed_matrix() -> None:
    """No step from it towards another allowed matrix comes nearer to the projected one."""
    made, generator = learned(10), Generator().manual_seed(1)

    def project(raw: Tensor) -> np.ndarray:
        with torch.no_grad():
            made.scaled.copy_(raw)
        made.after_step_()
        assert_allowed(made)
        return matrix(made)

    raw = torch.randn(10, 10, generator=generator, dtype=torch.float64)
    found = project(raw)
    for _ in range(5):
        other = project(torch.randn(10, 10, generator=generator, dtype=torch.float64))
        assert ((raw.numpy() - found) * (other - found)).sum() <= 1e-2
    assert np.allclose(project(torch.from_numpy(found)), found, atol=1e-3)


def infer(made: Lateral, x: Tensor, dictionary: Tensor, n_steps: int) -> list[Tensor]:
    """The codes after each step of non-negative ISTA from zero."""
    ista = INFERENCES.build(
        {
            **{"name": "ista", "n_steps": n_steps, "non_negative": True},
            **{"prediction_weight": 0.0, "follow_encoder": False},
        }
    )
    assert ista is not None
    start = x.new_zeros(len(x), dictionary.shape[1])
    return list(ista.steps(x, dictionary, start, made))


def data(n_features: int, n_latents: int, batch: int = 100) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(3)
    atoms = torch.randn(n_features, n_latents, generator=generator, dtype=torch.float64)
    codes = torch.rand(batch, n_latents, generator=generator, dtype=torch.float64)
    atoms = atoms / atoms.norm(dim=0)
    return codes @ atoms.t(), atoms


@pytest.mark.parametrize("weight", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", ["lateral", "lateral_tree", "lateral_learned"])
def test_the_energy_falls_in_every_step(name: str, weight: float) -> None:
    x, atoms = data(16, 24)
    made = penalty(name, 24, weight=weight)
    steps = infer(made, x, atoms, 100)
    energies = torch.stack([energy(x, atoms, codes, made) for codes in steps])
    assert bool((energies.diff(dim=0) <= 0).all())
    assert bool((energies[-1] < energies[0]).all())


def test_one_block_alone_is_on() -> None:
    x, atoms = data(16, 24)
    codes = infer(penalty("lateral", 24, block_size=6, weight=10.0), x, atoms, 400)[-1]
    on = codes.reshape(len(x), 4, 6).amax(2) > 1e-3
    assert float((on.sum(1) == 1).double().mean()) > 0.95


def test_all_pairs_leave_one_code() -> None:
    x, atoms = data(16, 24)
    codes = infer(penalty("lateral", 24, block_size=1, weight=30.0), x, atoms, 400)[-1]
    assert float(((codes > 1e-3).sum(1) == 1).double().mean()) > 0.95


def test_active_sets_lie_on_a_path_of_the_tree() -> None:
    x, atoms = data(16, 31)
    made = penalty("lateral_tree", 31, weight=10.0)
    on = (infer(made, x, atoms, 400)[-1] > 1e-3).double()
    clashes = ((on @ torch.from_numpy(matrix(made))) * on).sum(1)
    assert float((clashes == 0).double().mean()) >= 0.9
    assert float(on.sum(1).mean()) > 1.5
    assert float(on.sum(1).max()) <= math.log2(32)


def test_without_weight_it_is_least_squares() -> None:
    x, atoms = data(16, 8)
    made = penalty("lateral", 8, weight=0.0)
    expected = np.linalg.lstsq(atoms.numpy(), x.numpy().T, rcond=None)[0].T
    assert (expected >= 0).all()
    assert np.abs(infer(made, x, atoms, 2000)[-1].numpy() - expected).max() < 1e-6


def test_too_many_pairs_are_refused_before_memory_is_taken() -> None:
    made = PENALTIES.build({"name": "lateral", "weight": 1.0, "block_size": 1})
    assert isinstance(made, Lateral)
    with pytest.raises(ConfigError, match="number for each pair of 1073741824 latents"):
        made.for_codes((2**30,))
