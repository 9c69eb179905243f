"""Trees of atoms: parents above the middle of their children, a line for each pair."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sae_cli.pictures import Picture
from sae_cli.pictures.latents.tree_map import draw, layout, tree_map
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(8)
# These are two trees and a lone root; a child may come before its parent.
PARENTS = np.array([1, -1, 1, 2, 2, -1, 5, -1])


def test_leaves_stand_side_by_side_and_parents_above_their_middle() -> None:
    across, depth = layout(PARENTS)
    assert depth.tolist() == [1, 0, 1, 2, 2, 0, 1, 0]
    # The leaves are 0, 3, 4, 6, 7; 2 is above 3 and 4, 1 above 0 and 2, 5 above 6.
    assert across.tolist() == [0, 0.75, 1.5, 1, 2, 3, 3, 4]


def test_nothing_in_a_level_stands_on_anything_else() -> None:
    parents = np.array([-1, *(int(RNG.integers(0, i)) for i in range(1, 60))])
    across, depth = layout(parents)
    for level in range(depth.max() + 1):
        places = np.sort(across[depth == level])
        assert (np.diff(places) >= 1 - 1e-9).all()


def test_a_deep_tree_needs_no_recursion() -> None:
    across, depth = layout(np.arange(5000) - 1)
    assert depth.max() == 4999 and not across.any()


def test_lines_lead_from_parents_to_children() -> None:
    picture = tree_map(RNG.normal(size=(8, 16)), (1, 4, 4), PARENTS)
    assert picture.name == "tree_map"
    (axes,) = picture.figure.axes
    lines = [np.asarray(line.get_xydata()) for line in axes.lines]
    edges = [line for line in lines if len(line) == 2]
    boxes = [image.get_extent() for image in axes.images]
    assert len(boxes) == 8
    pairs = [(child, parent) for child, parent in enumerate(PARENTS) if parent >= 0]
    for (child, parent), edge in zip(pairs, edges, strict=True):
        for index, (x, y) in zip((parent, child), edge, strict=True):
            left, right, bottom, top = boxes[index]
            assert left < x < right
            # A line goes down from below the parent to the top of the child.
            assert y >= bottom if index == parent else y == pytest.approx(top, abs=0.01)
    assert [text.get_text() for text in axes.texts] == [str(i) for i in range(8)]
    np.testing.assert_array_equal(picture.numbers["parents"], PARENTS)


def test_atoms_are_scaled_to_unit_norm() -> None:
    atom = RNG.normal(size=16)
    picture = tree_map(np.stack([atom, 100 * atom]), (1, 4, 4), np.array([-1, 0]))
    first, second = (np.asarray(image.get_array()) for image in picture.figure.axes[0].images)
    np.testing.assert_allclose(first, second)
    np.testing.assert_array_equal(picture.numbers["atoms"][1], 100 * atom)


@pytest.mark.parametrize(
    ("parents", "says"),
    [([-1, 2], "outside -1 to 1"), ([-2, 0], "outside"), ([1, 0], "circle"), ([0, -1], "circle")],
)
def test_parents_that_form_no_tree_are_refused(parents: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tree_map(np.ones((2, 16)), (1, 4, 4), np.array(parents))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"parents have shape \(3,\); needed: \(2,\)"):
        tree_map(np.ones((2, 16)), (1, 4, 4), np.zeros(3, int))
    with pytest.raises(ValueError, match="is not an image"):
        tree_map(np.ones((2, 16)), (16,), np.array([-1, 0]))


def test_drawn_where_images_have_a_tree() -> None:
    assert pictures(draw, make_view((1, 4, 4), 8, parents=PARENTS)) == ["tree_map"]
    assert pictures(draw, make_view((1, 4, 4), 8)) == []
    assert pictures(draw, make_view((16,), 8, parents=PARENTS)) == []
    assert pictures(draw, make_view((1, 4, 4), 8, parents=PARENTS, dictionary=None)) == []


EDGES: dict[str, Callable[[], Picture]] = {
    "tree": lambda: tree_map(random(40, 64), (1, 8, 8), (np.arange(40) + 2) // 3 - 1),
    "wide tree": lambda: tree_map(random(500, 75), (3, 5, 5), np.minimum(np.arange(500), 1) - 1),
    "no branches": lambda: tree_map(random(9, 784), (1, 28, 28), np.full(9, -1)),
    "deep tree": lambda: tree_map(random(20, 64), (1, 8, 8), np.arange(20) - 1),
    "1 atom": lambda: tree_map(np.zeros((1, 200)), (1, 2, 100), np.array([-1])),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
