"""Atoms in the order of activity, against counts and sizes by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.latents.by_activity import atoms_by_activity, draw, spread
from sae_cli.pictures.view import by_activity
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

N, SHAPE = 20, (1, 8, 8)
# Latents 3 and 7 are dead.
FIRES = np.where(np.isin(np.arange(N), [3, 7]), 0.0, np.linspace(0.05, 0.9, N))
SPARSE = random(200, N) * (random(200, N, seed=1) < FIRES)


def test_the_order_is_that_of_counts_then_of_sizes_and_dead_latents_are_last() -> None:
    view = make_view((7,), N, active_above=0.0, codes=SPARSE)
    order = by_activity(view).tolist()
    counts = (SPARSE != 0).sum(0)
    sizes = np.sqrt((SPARSE.astype(np.float64) ** 2).mean(0))
    assert order == sorted(range(N), key=lambda latent: (-counts[latent], -sizes[latent]))
    assert set(order[-2:]) == {3, 7}


@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 6), (7,), (2, 5)])
def test_the_atoms_drawn_are_those_of_the_view(shape: tuple[int, ...]) -> None:
    view = make_view(shape, N, active_above=0.0, codes=SPARSE)
    (picture,) = draw(view)
    order = picture.numbers["order"]
    np.testing.assert_array_equal(order, by_activity(view))
    np.testing.assert_array_equal(picture.numbers["atoms"], view.atoms(order))
    np.testing.assert_array_equal(picture.numbers["shares"], (SPARSE != 0).mean(0)[order])
    assert picture.numbers["counts"].sum() == N - 2
    legend = picture.figure.axes[-1].get_legend()
    assert legend is not None
    assert "dead, never: 2" in [text.get_text() for text in legend.get_texts()]
    check_looks(picture)


def test_dead_atoms_are_greyed_and_others_are_not() -> None:
    atoms = random(4, 64) - 0.5
    counts = np.array([9, 5, 0, 0])
    half = atoms_by_activity(
        atoms, SHAPE, np.arange(4), counts=counts, n_examples=10, active_above=0.0
    )
    none = atoms_by_activity(
        atoms, SHAPE, np.arange(4), counts=counts + 1, n_examples=10, active_above=0.0
    )
    one, other = (picture.figure.axes[0].images[0].get_array() for picture in (half, none))
    assert one is not None and other is not None
    middle = len(one) // 2
    np.testing.assert_array_equal(one[:middle], other[:middle])
    assert np.ptp(one[middle + 3 : -3, 3:-3]) < np.ptp(other[middle + 3 : -3, 3:-3])


def test_a_threshold_is_named_on_the_axis() -> None:
    (picture,) = draw(make_view(SHAPE, N, active_above=0.1, codes=SPARSE))
    assert picture.figure.axes[-1].get_xlabel().endswith("with a code above 0.1")
    (picture,) = draw(make_view(SHAPE, N, active_above=0.0, codes=SPARSE))
    assert picture.figure.axes[-1].get_xlabel().endswith("with a code other than 0")


def test_it_is_drawn_where_some_codes_count_as_inactive() -> None:
    assert not pictures(draw, make_view(SHAPE, 8, active_above=0.0, codes=random(50, 8) + 0.1))
    assert not pictures(draw, make_view(SHAPE, N, active_above=0.0, codes=SPARSE, has_prior=True))
    assert not pictures(
        draw, make_view(SHAPE, N, active_above=0.0, codes=SPARSE, decoder_trained=False)
    )


def test_of_many_latents_the_first_the_last_and_some_between_are_drawn() -> None:
    order = np.random.default_rng(0).permutation(1000)
    chosen = spread(order, 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert chosen[0] == order[0] and chosen[-1] == order[-1]
    places = np.argsort(order)[chosen]
    assert (np.diff(places) > 9).all() and (np.diff(places) < 12).all()
    np.testing.assert_array_equal(spread(order[:30], 100), order[:30])
