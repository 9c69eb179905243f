"""Group sparsity against NumPy, finite differences, and data that come in groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import DataShape
from sae_cli.model.activations.pointwise import Pointwise
from sae_cli.model.architectures import ARCHITECTURES
from sae_cli.model.inference import shrink
from sae_cli.model.objective import Objective
from sae_cli.model.penalties import PENALTIES
from sae_cli.model.penalties.group import Group
from sae_cli.model.reconstruction import RECONSTRUCTIONS

CODES = np.random.default_rng(0).normal(size=(5, 12))


def group(
    sheet: tuple[int, ...] | None = (12,),
    size: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (4,),
    *,
    weight: float = 1.0,
    wrap: bool = False,
    sigma: float | None = None,
    epsilon: float = 1e-6,
) -> Group:
    return Group(
        weight=weight,
        sheet=None if sheet is None else list(sheet),
        size=list(size),
        stride=list(stride),
        wrap=wrap,
        sigma=sigma,
        epsilon=epsilon,
    )


def test_disjoint_pools_against_numpy() -> None:
    norms = np.sqrt((CODES.reshape(5, 3, 4) ** 2).sum(2) + 1e-6)
    expected = (norms - 1e-3).sum(1).mean()
    assert float(group().double()(torch.from_numpy(CODES))) == pytest.approx(expected, rel=1e-9)


def test_a_latent_counts_in_each_of_its_pools() -> None:
    """Pools of 2x2 with stride 1 on a torus of 3x4 make four pools for each latent."""
    penalty = group((3, 4), (2, 2), (1, 1), wrap=True, epsilon=1e-12).double()
    one = torch.zeros(1, 12, dtype=torch.float64)
    one[0, 5] = -3.0
    assert float(penalty(one)) == pytest.approx(4 * 3.0, rel=1e-5)


def test_one_latent_a_pool_is_the_l1_penalty() -> None:
    codes = torch.from_numpy(CODES)
    l1 = PENALTIES.build({"name": "l1", "weight": 1.0})
    assert l1 is not None
    alone = group(size=(1,), stride=(1,), epsilon=1e-14).double()
    assert float(alone(codes)) == pytest.approx(float(l1(codes)), rel=1e-6)


def test_codes_of_zero_cost_nothing_and_have_no_slope() -> None:
    codes = torch.zeros(5, 12, requires_grad=True)
    value = group()(codes)
    (gradient,) = torch.autograd.grad(value, codes)
    assert float(value.detach()) == 0.0
    assert torch.equal(gradient, torch.zeros(5, 12))


def test_gradients_by_finite_differences() -> None:
    penalty = group((3, 4), (2, 3), (1, 2), wrap=True, sigma=0.7, epsilon=1e-3).double()
    codes = torch.from_numpy(CODES).requires_grad_()
    assert torch.autograd.gradcheck(penalty, (codes,))


def test_shrinking_disjoint_pools_is_the_proximal_step() -> None:
    """The minimum of ``|u - z|^2 / 2 + step * weight * sum of norms``, by its gradient."""
    penalty = group(weight=0.5, epsilon=1e-12).double()
    codes = torch.from_numpy(CODES).clone()
    codes[0, :4] = 0.1
    shrunk = penalty.shrink(codes, 1.2)
    assert torch.equal(shrunk[0, :4], torch.zeros(4, dtype=torch.float64))
    u = shrunk.clone().requires_grad_()
    # Away from 0 the gradient of the sum vanishes; a pool at 0 has a norm of at most the step.
    norms = u.reshape(5, 3, 4).square().sum(2).sqrt()
    (slope,) = torch.autograd.grad(0.5 * (u - codes).square().sum() + 0.6 * norms.sum(), u)
    on = (shrunk.reshape(5, 3, 4) != 0).any(2)
    assert slope.reshape(5, 3, 4)[on].abs().max() < 1e-6
    assert codes.reshape(5, 3, 4).square().sum(2).sqrt()[~on].max() <= 0.6
    assert torch.equal(penalty.shrink(0 * codes, 0.0), 0 * codes)


def test_steps_may_differ_between_examples() -> None:
    penalty, codes = group(weight=0.5), torch.from_numpy(CODES).float()
    steps = torch.linspace(0.0, 2.0, 5)[:, None]
    each = [
        penalty.shrink(row[None], float(step)) for row, step in zip(codes, steps[:, 0], strict=True)
    ]
    torch.testing.assert_close(penalty.shrink(codes, steps), torch.cat(each))


def test_shrinking_overlapping_pools_lowers_the_penalty() -> None:
    penalty = group((3, 4), (2, 2), (1, 1), wrap=True)
    codes = torch.from_numpy(CODES).float()
    assert float(penalty(shrink(penalty, codes, 0.01, codes))) < float(penalty(codes))


def test_sheets_that_do_not_fit() -> None:
    group((3, 4), (2, 2), (1, 1)).for_codes((12,))
    with pytest.raises(ConfigError, match=r"needs codes in the 12 places .*; choose"):
        group().for_codes((13,))
    with pytest.raises(ConfigError, match=r"out of every pool; give penalty\.wrap=true"):
        group((13,))


def grouped_data(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Examples ``(2000, 32)`` and which of 8 groups made each ``(2000, 8)``.

    Each example adds two groups; all four atoms of a group are on together.
    """
    atoms = torch.linalg.qr(torch.randn(32, 32, generator=generator)).Q
    chosen = torch.rand(2000, 8, generator=generator).argsort(1)[:, :2]
    groups = torch.zeros(2000, 8).scatter_(1, chosen, 1.0)
    codes = torch.rand(2000, 32, generator=generator) + 0.2
    return (codes * groups.repeat_interleave(4, 1)) @ atoms, groups


def test_whole_pools_switch_off_on_data_that_come_in_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    x, groups = grouped_data(generator)
    options = {"hidden_sizes": [], "hidden_activations": ["relu"], "n_latents": 32}
    options |= {"expansion_factor": None, "output_activation": "identity", "tied": False}
    options |= {"unit_norm_decoder": True, "init": "glorot_uniform", "name": "dense"}
    shape = DataShape((32,), None)
    model = ARCHITECTURES.build(options, shape, Pointwise("relu"), generator)
    penalty = group((32,), weight=0.6)
    mse = RECONSTRUCTIONS.build({"name": "mse", "reduction": "sum"})
    objective = Objective(mse, penalty)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(800):
        batch = x[torch.randint(len(x), (128,), generator=generator)]
        optimizer.zero_grad()
        objective(model(batch), batch)["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        codes = model.encode(x)
        unexplained = (model.decode(codes) - x).square().sum() / (x - x.mean(0)).square().sum()
    on = (codes.reshape(-1, 8, 4) > 0.05).any(2).float()
    mixed = codes[:, torch.randperm(32, generator=generator)]
    assert unexplained < 0.2
    assert on.sum(1).mean() < 2.5  # each example is made of 2 groups of 8
    # With the same codes in random pools, parts of most pools are on.
    assert (mixed.reshape(-1, 8, 4) > 0.05).any(2).sum(1).float().mean() > 3.5
    # Most pools have found one group and are on where it is; others share a group.
    agreement = torch.corrcoef(torch.cat((on, groups), 1).t())[:8, 8:].nan_to_num()
    assert agreement.max(1).values.median() > 0.7


def test_each_layer_has_a_sheet_of_its_own() -> None:
    """Without a given sheet, a penalty that is bound to one layer can be bound to another."""
    of_top = group(None, (2, 2, 1), (2, 2, 1)).for_codes((4, 4, 8))
    assert isinstance(of_top, Group)
    of_bottom = of_top.for_codes((8, 8, 4))
    assert isinstance(of_bottom, Group)
    assert (of_top.sheet, of_bottom.sheet) == ((4, 4, 8), (8, 8, 4))
    # There are 64 pools of four ones.
    assert float(of_bottom(torch.ones(1, 256))) == pytest.approx(64 * 2.0, rel=1e-3)
