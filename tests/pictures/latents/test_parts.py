"""Encoder rows beside atoms, of the most part-like latents and the most categorical."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sae_cli.pictures import Picture
from sae_cli.pictures.latents.parts import N_EACH, draw, parts_and_categories
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

SHAPE = (1, 4, 5)


def turned(angles: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], ...]:
    """Encoder rows and atoms with these angles between them, and norms of all kinds."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(len(angles), 20))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    across = rng.normal(size=atoms.shape)
    across -= (across * atoms).sum(1, keepdims=True) * atoms
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    rows = np.cos(angles)[:, None] * atoms + np.sin(angles)[:, None] * across
    sizes = rng.uniform(0.1, 3.0, (2, len(angles), 1))
    return (sizes[0] * rows).astype(np.float32), (sizes[1] * atoms).astype(np.float32)


def texts(picture: Picture) -> list[str]:
    return [text.get_text() for axes in picture.figure.axes for text in axes.texts]


def test_the_smallest_angles_and_the_largest() -> None:
    angles = np.random.default_rng(1).permutation(np.linspace(0.1, 1.4, 40))
    rows, atoms = turned(angles)
    alive = np.flatnonzero(angles > 0.3)
    picture = parts_and_categories(rows, atoms, SHAPE, alive)
    order = [one for one in np.argsort(angles) if angles[one] > 0.3]
    expected = [*order[:N_EACH], *order[-N_EACH:]]
    assert picture.numbers["latents"].tolist() == expected
    np.testing.assert_allclose(picture.numbers["angles"], angles[expected], rtol=1e-4)
    np.testing.assert_array_equal(picture.numbers["rows"], rows[expected])
    np.testing.assert_array_equal(picture.numbers["atoms"], atoms[expected])
    shown = [f"{one}: {angles[one]:.2f}" for one in expected]
    assert [text for text in texts(picture) if ":" in text] == shown


def test_few_latents_are_shown_once() -> None:
    rows, atoms = turned(np.array([0.9, 0.1, 0.5]))
    picture = parts_and_categories(rows, atoms, SHAPE, np.arange(3))
    assert picture.numbers["latents"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="needed: at least 2"):
        parts_and_categories(rows, atoms, SHAPE, np.arange(1))


def test_drawn_of_live_latents_where_a_head_was_trained_on_images() -> None:
    view = make_view((1, 8, 8), 5, has_head=True)
    view.codes[:, 1] = 0.0
    (picture,) = draw(view)
    assert 1 not in picture.numbers["latents"]
    assert len(picture.numbers["latents"]) == 4
    assert pictures(draw, make_view((1, 8, 8), 5)) == []
    assert pictures(draw, make_view((7,), 5, has_head=True)) == []
    assert pictures(draw, make_view((1, 8, 8), 5, has_head=True, filters=None)) == []
    assert pictures(draw, make_view((1, 8, 8), 5, has_head=True, dictionary=None)) == []
    convolution = make_view((1, 8, 8), 5, has_head=True, filters=random(5, 1, 3, 3))
    assert pictures(draw, convolution) == []


def of(shape: tuple[int, ...], n: int) -> Picture:
    features = int(np.prod(shape))
    return parts_and_categories(random(n, features), random(n, features), shape, np.arange(n))


EDGES: dict[str, Callable[[], Picture]] = {
    "digits": lambda: of((1, 28, 28), 40),
    "two": lambda: of((1, 8, 8), 2),
    "large": lambda: of((3, 200, 100), 30),
    "zeros": lambda: parts_and_categories(
        np.zeros((4, 20), np.float32), np.zeros((4, 20), np.float32), SHAPE, np.arange(4)
    ),
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
