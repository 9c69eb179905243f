"""The curves of the penalties with a target, against values computed by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from sae_cli.pictures import Picture
from sae_cli.pictures.training.penalty_curves import draw, penalty_curves
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures


@pytest.mark.parametrize(
    ("q", "kl"), [(0.5, 0.36806), (0.2, 0.03669), (0.15, 0.01090), (0.3, 0.1163), (0.1, 0.0)]
)
def test_values_at_a_target_of_a_tenth(q: float, kl: float) -> None:
    numbers = penalty_curves(0.1).numbers
    (at,) = np.flatnonzero(np.isclose(numbers["q"], q))
    assert numbers["kl"][at] == pytest.approx(kl, abs=6e-5)
    assert numbers["absolute"][at] == pytest.approx(abs(q - 0.1))
    assert numbers["squared"][at] == pytest.approx((q - 0.1) ** 2, abs=1e-12)


@pytest.mark.parametrize("target", [0.01, 0.3, 0.9])
def test_kl_is_that_of_torch_and_zero_at_the_target_only(target: float) -> None:
    numbers = penalty_curves(target).numbers
    q = numbers["q"]
    towards = Bernoulli(torch.tensor(target, dtype=torch.float64))
    expected = kl_divergence(towards, Bernoulli(torch.from_numpy(q)))
    np.testing.assert_allclose(numbers["kl"], expected.numpy(), atol=1e-12)
    for name in ("kl", "absolute", "squared"):
        assert np.argmin(numbers[name]) == np.argmin(np.abs(q - target))


def test_curves_and_target_are_drawn_and_named() -> None:
    picture = penalty_curves(0.1)
    assert picture.name == "penalty_curves"
    drawn = {str(line.get_label()): line for line in picture.figure.axes[0].lines}
    assert list(drawn) == ["KL(p || q)", "|q - p|", "(q - p)²", "target 0.1"]
    for name, line in zip(("kl", "absolute", "squared"), drawn.values(), strict=False):
        np.testing.assert_array_equal(line.get_ydata(), picture.numbers[name])
    assert np.asarray(drawn["target 0.1"].get_xdata()).tolist() == [0.1, 0.1]
    assert float(picture.numbers["target"]) == 0.1


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, float("nan")])
def test_a_target_at_the_ends_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        penalty_curves(target)


def test_drawn_where_there_is_a_target() -> None:
    assert pictures(draw, make_view((7,), 5, target=0.1)) == ["penalty_curves"]
    assert pictures(draw, make_view((7,), 5)) == []


EDGES: dict[str, Callable[[], Picture]] = {
    "penalties": lambda: penalty_curves(0.1),
    "high target": lambda: penalty_curves(0.999),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
