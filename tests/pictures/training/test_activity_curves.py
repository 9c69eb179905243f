"""Curves of activity: which are drawn, and of which numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sae_cli.pictures.training.activity_curves import activity_curves, draw
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random


def activity(*values: float, dead: int = 0) -> list[dict[str, Any]]:
    return [
        {
            **{"stage": "joint", "epoch": epoch, "val/mean_activity": value},
            **{"val/l0": 30 * value, "val/dead_latents": dead},
        }
        for epoch, value in enumerate(values)
    ]


VALUES = (0.2, 0.18, 0.15, 0.12)


def test_mean_activity_stands_beside_its_target() -> None:
    picture = activity_curves(activity(*VALUES), target=0.1, active_above=0.1)
    np.testing.assert_array_equal(picture.numbers["val/mean_activity"], VALUES)
    np.testing.assert_array_equal(picture.numbers["val/l0"], 30 * np.array(VALUES))
    assert picture.numbers["target"] == 0.1
    above, below = picture.figure.axes
    assert (
        above.get_ylabel() == "mean activity" and below.get_ylabel() == "active codes (above 0.1)"
    )
    (target,) = (line for line in above.lines if line.get_label() == "target 0.1")
    assert set(np.asarray(target.get_ydata()).tolist()) == {0.1}
    low, high = above.get_ylim()
    assert low < 0.1 and high > 0.2
    check_looks(picture)


def test_dead_latents_are_drawn_where_there_are_any() -> None:
    assert (
        "val/dead_latents"
        not in activity_curves(activity(*VALUES), target=None, active_above=0.0).numbers
    )
    picture = activity_curves(activity(*VALUES, dead=3), target=None, active_above=0.0)
    np.testing.assert_array_equal(picture.numbers["val/dead_latents"], [3, 3, 3, 3])
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["active codes", "dead latents"]
    check_looks(picture)


def test_it_is_drawn_with_a_target_or_where_some_codes_are_inactive() -> None:
    codes = random(50, 8) + 0.1
    plain = {"active_above": 0.0, "codes": codes, "lines": activity(*VALUES)}
    assert not pictures(draw, make_view((7,), 8, **plain))
    assert pictures(draw, make_view((7,), 8, **plain, target=0.1))
    assert pictures(draw, make_view((7,), 8, **plain | {"codes": codes * (codes > 0.5)}))
    with pytest.raises(ValueError, match="at least one of them"):
        activity_curves(activity(*VALUES), target=None, active_above=None)
