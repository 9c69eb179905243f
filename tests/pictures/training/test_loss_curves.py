"""Loss curves: one panel per term, stages apart, every measured value visible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from sae_cli.pictures import Picture
from sae_cli.pictures.picture import render
from sae_cli.pictures.training.loss_curves import draw, loss_curves
from tests.pictures.looks import check_looks
from tests.pictures.views import lines, make_view

Line = dict[str, Any]

TWO_STAGES: list[Line] = [
    {"stage": "greedy_1", "epoch": 0, "step": 0, "val/loss": 0.9, "val/reconstruction": 0.8},
    {"stage": "greedy_1", "epoch": 1, "train/loss": 0.7, "val/loss": 0.6, "train/mse": 0.1,
     "train/reconstruction": 0.5, "val/reconstruction": 0.45},
    {"stage": "fine_tune", "epoch": 1, "val/loss": 2.0, "val/head": 1.5},
    {"stage": "fine_tune", "epoch": 2, "train/loss": 1.8, "val/loss": 1.7, "train/head": 1.4,
     "val/head": 1.3},
    {"stage": "fine_tune", "epoch": 3, "train/loss": 1.6, "val/loss": 1.5},
]  # fmt: skip


def panels(picture: Picture) -> dict[str, Axes]:
    return {axes.get_ylabel(): axes for axes in picture.figure.axes}


def points(axes: Axes, marker: str) -> list[list[list[float]]]:
    """The (epoch, value) points of each line that has this marker."""
    return [np.asarray(m.get_xydata()).tolist() for m in axes.lines if m.get_marker() == marker]


def curve(values: list[float], term: str = "loss") -> list[Line]:
    return [{"stage": "s", "epoch": i, f"val/{term}": v} for i, v in enumerate(values)]


def test_numbers_are_the_drawn_keys_with_nan_where_absent() -> None:
    numbers = loss_curves(TWO_STAGES, terms=["reconstruction", "head"]).numbers
    nan = np.nan
    expected = {
        "epoch": [0, 1, 1, 2, 3],
        "stage": ["greedy_1", "greedy_1", "fine_tune", "fine_tune", "fine_tune"],
        "train/loss": [nan, 0.7, nan, 1.8, 1.6],
        "val/loss": [0.9, 0.6, 2.0, 1.7, 1.5],
        "train/reconstruction": [nan, 0.5, nan, nan, nan],
        "val/reconstruction": [0.8, 0.45, nan, nan, nan],
        "train/head": [nan, nan, nan, 1.4, nan],
        "val/head": [nan, nan, 1.5, 1.3, nan],
    }
    assert set(numbers) == set(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(numbers[key], values)
    assert numbers["stage"].dtype.kind == "U"
    assert numbers["epoch"].dtype == np.int64


def test_loss_comes_first_and_once() -> None:
    picture = loss_curves(TWO_STAGES, terms=["head", "loss", "reconstruction"])
    assert list(panels(picture)) == ["loss", "head", "reconstruction"]


def test_no_line_joins_two_stages() -> None:
    axes = panels(loss_curves(TWO_STAGES, terms=[]))["loss"]
    assert points(axes, "s") == [[[0, 0.9], [1, 0.6]], [[1, 2.0], [2, 1.7], [3, 1.5]]]
    assert all(line.get_markersize() >= 3 for line in axes.lines if line.get_marker() == "s")


def test_boundaries_and_names_of_stages() -> None:
    picture = loss_curves(TWO_STAGES, terms=["head"])
    for axes in panels(picture).values():
        assert points(axes, "None") == [[[1, 0], [1, 1]]]
    (top,) = panels(picture)["loss"].child_axes
    assert [label.get_text() for label in top.get_xticklabels()] == ["greedy_1", "fine_tune"]
    assert not panels(picture)["head"].child_axes


def test_a_single_stage_has_neither_boundary_nor_name() -> None:
    axes = panels(loss_curves(TWO_STAGES[:2], terms=[]))["loss"]
    assert not axes.child_axes
    assert [line.get_marker() for line in axes.lines] == ["o", "s"]


def test_a_stage_that_comes_back_is_a_stage_of_its_own() -> None:
    lines = [{"stage": s, "epoch": i, "val/loss": 1.0} for i, s in enumerate("aabba")]
    (top,) = panels(loss_curves(lines, terms=[]))["loss"].child_axes
    assert [label.get_text() for label in top.get_xticklabels()] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 0.01], "log"),
        ([1.0, 0.5], "linear"),
        ([1.0, 0.0], "linear"),
        ([1.0, -0.01], "linear"),
        ([1.0, np.nan, 0.01], "log"),
        ([np.inf, 0.5], "linear"),
        ([0.3, 0.3], "linear"),
    ],
)
def test_wide_positive_ranges_are_logarithmic(values: list[float], scale: str) -> None:
    assert panels(loss_curves(curve(values), terms=[]))["loss"].get_yscale() == scale


def test_null_in_json_is_not_a_number() -> None:
    lines = [*curve([0.5, 0.4]), {"stage": "s", "epoch": 2, "val/loss": None}]
    values = loss_curves(lines, terms=[]).numbers["val/loss"]
    np.testing.assert_array_equal(values, [0.5, 0.4, np.nan])


def test_a_term_that_was_never_measured_says_so() -> None:
    axes = panels(loss_curves(curve([0.5, 0.4]), terms=["penalty"]))["penalty"]
    assert [text.get_text() for text in axes.texts] == ["no finite values"]


def test_lines_are_not_changed() -> None:
    lines = [dict(line) for line in TWO_STAGES]
    loss_curves(lines, terms=["head"])
    assert lines == TWO_STAGES


def test_terms_are_drawn_where_the_loss_has_more_than_one() -> None:
    (two,) = draw(make_view((7,), 5, terms=["loss", "reconstruction"]))
    assert list(panels(two)) == ["loss"]
    (three,) = draw(make_view((7,), 5, terms=["loss", "reconstruction", "penalty"]))
    assert list(panels(three)) == ["loss", "reconstruction", "penalty"]


EDGES: dict[str, Callable[[], Picture]] = {
    "curves": lambda: loss_curves(lines(["joint"], 10), terms=["reconstruction", "penalty"]),
    "stages": lambda: loss_curves(lines(["greedy_1", "fine_tune"], 3), terms=["reconstruction"]),
    "30 stages": lambda: loss_curves(lines([f"greedy layer {i}" for i in range(30)], 1), terms=[]),
    "long stage": lambda: loss_curves(lines(["a", "b" * 60], 2), terms=[]),
    "1 epoch": lambda: loss_curves(lines(["joint"], 1), terms=["penalty"]),
    "evaluation only": lambda: loss_curves(lines(["joint"], 0), terms=["penalty"]),
    "no lines": lambda: loss_curves([], terms=["penalty"]),
    "tiny values": lambda: loss_curves(curve([1e-7 * i for i in (1, 2, 3, 4)]), terms=[]),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())


def untrained(first: float, *later: float) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"stage": "joint", "epoch": 0, "val/loss": first}]
    for epoch, value in enumerate(later, 1):
        found.append(
            {"stage": "joint", "epoch": epoch, "train/loss": value, "val/loss": 1.01 * value}
        )
    return found


@pytest.mark.parametrize(
    ("first", "scale"), [(900.0, "linear"), (2.9e-6, "linear"), (9.0, "linear"), (-5.0, "linear")]
)
def test_what_lies_far_off_before_training_is_marked_and_flattens_nothing(
    first: float, scale: str
) -> None:
    picture = loss_curves(untrained(first, 3.0, 2.5, 2.2, 2.0), terms=[])
    (axes,) = picture.figure.axes
    low, high = axes.get_ylim()
    assert low < 2.0 and high > 3.03 and high - low < 2.0
    assert axes.get_yscale() == scale
    assert [text.get_text() for text in axes.texts] == [f"{first:.3g} before training"]
    marker = axes.lines[-1]
    assert marker.get_marker() == ("^" if first > 3 else "v")
    np.testing.assert_array_equal(picture.numbers["val/loss"][0], first)
    check_looks(picture)


@pytest.mark.parametrize("values", [(3.4, 3.0, 2.5, 2.0), (60.0, 20.0, 5.0, 1.0), (5.0, 1.0)])
def test_what_lies_near_before_training_is_drawn(values: tuple[float, ...]) -> None:
    picture = loss_curves(untrained(*values), terms=[])
    (axes,) = picture.figure.axes
    assert axes.get_ylim()[1] > values[0] and not axes.texts


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("wide", [1.0, 1e4])
def test_words_on_what_lies_far_off_cover_no_curve(sign: float, wide: float) -> None:
    later = [wide ** (1 / n) * (0.1 + 0.1 / n) for n in range(1, 51)]
    if sign < 0:
        later = [max(later) / value for value in later]
    first = (1e3 * wide) ** sign
    picture = loss_curves(untrained(first, *later), terms=[])
    render(picture)
    (axes,) = picture.figure.axes
    (text,) = axes.texts
    box = text.get_window_extent()
    for line in axes.lines[:2]:
        assert not line.get_path().transformed(line.get_transform()).intersects_bbox(box, False)
