"""Pools of latents against loops in NumPy."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sae_cli.core.errors import ConfigError
from sae_cli.model.penalties.pools import Pools

Array = npt.NDArray[np.float64]

EPSILON = 1e-6
CASES = [
    ((12,), (4,), (4,), False, None),
    ((12,), (4,), (4,), True, None),
    ((13,), (4,), (3,), True, 1.5),
    ((13,), (4,), (3,), False, 1.5),
    ((6, 8), (3, 4), (3, 4), False, None),
    ((16, 16), (6, 6), (3, 3), True, None),
    ((5, 7), (3, 2), (2, 1), True, 0.8),
    ((5, 7), (3, 2), (2, 1), False, 0.8),
    ((3, 4, 5), (2, 2, 3), (1, 2, 2), True, 1.0),
]


def loop_over_pools(
    codes: Array,
    sheet: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    wrap: bool,
    sigma: float | None,
) -> Array:
    """Compute the norms pool by pool, latent by latent."""
    on_sheet = codes.reshape(len(codes), *sheet)
    begins = [
        range(0, n if wrap else n - k + 1, s) for n, k, s in zip(sheet, size, stride, strict=True)
    ]
    norms = []
    for start in product(*begins):
        total = np.zeros(len(codes))
        for offset in product(*map(range, size)):
            place = tuple((a + b) % n for a, b, n in zip(start, offset, sheet, strict=True))
            distance = sum((b - (k - 1) / 2) ** 2 for b, k in zip(offset, size, strict=True))
            weight = 1.0 if sigma is None else math.exp(-distance / (2 * sigma**2))
            index: tuple[Any, ...] = (slice(None), *place)
            total += weight * on_sheet[index] ** 2
        norms.append(np.sqrt(total + EPSILON))
    return np.stack(norms, axis=1)


@pytest.mark.parametrize(("sheet", "size", "stride", "wrap", "sigma"), CASES)
def test_against_a_loop(
    sheet: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    wrap: bool,
    sigma: float | None,
) -> None:
    codes = np.random.default_rng(0).normal(size=(3, math.prod(sheet)))
    pools = Pools(sheet, size, stride, wrap, sigma, EPSILON).double()
    expected = loop_over_pools(codes, sheet, size, stride, wrap, sigma)
    assert expected.shape == (3, pools.n_pools)
    assert pools(torch.from_numpy(codes)).numpy() == pytest.approx(expected, rel=1e-6)
    members = pools.members().numpy()
    by_members = np.sqrt(codes**2 @ members.T + EPSILON)
    assert by_members == pytest.approx(expected, rel=1e-6)


def test_the_torus_of_the_lecture() -> None:
    """On 16 latents with stride 3 pools begin at 0, 3, ..., 15; latents 0 to 4 close the last."""
    pools = Pools([16, 16], [6, 6], [3, 3], True, None, EPSILON)
    assert pools.shape == (6, 6)
    last = pools.members()[-1].reshape(16, 16)
    rows, columns = (last.amax(1 - axis).nonzero()[:, 0].tolist() for axis in (0, 1))
    assert rows == columns == [0, 1, 2, 3, 4, 15]
    assert pools.members().sum(1).tolist() == [36.0] * 36
    assert pools.overlap and pools.covers_all


def test_pools_that_overlap_or_leave_latents_out() -> None:
    apart = Pools([12], [4], [4], False, None, EPSILON)
    assert not apart.overlap and apart.covers_all
    # One latent remains of 13: on a ring, the last pool reaches over the beginning.
    assert Pools([13], [4], [4], True, None, EPSILON).overlap
    assert not Pools([13], [4], [4], False, None, EPSILON).covers_all


def test_gradients_are_finite_where_all_codes_are_zero() -> None:
    codes = torch.zeros(2, 12, requires_grad=True)
    norms = Pools([12], [4], [2], True, None, EPSILON)(codes)
    norms.sum().backward()
    assert norms.tolist() == [pytest.approx([EPSILON**0.5] * 6)] * 2
    assert codes.grad is not None
    assert torch.equal(codes.grad, torch.zeros(2, 12))


def test_nothing_is_saved() -> None:
    assert not Pools([12], [4], [4], False, None, EPSILON).state_dict()


@pytest.mark.parametrize(
    ("sheet", "size", "stride", "message"),
    [
        ([16, 16], [6], [3, 3], "one for each axis of the sheet"),
        ([], [], [], "one for each axis of the sheet"),
        ([4], [6], [3], "wider than the sheet"),
        ([8], [2], [3], "stride of at most the size"),
    ],
)
def test_pools_that_do_not_fit(
    sheet: list[int], size: list[int], stride: list[int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Pools(sheet, size, stride, True, None, EPSILON)
