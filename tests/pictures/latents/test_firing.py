"""The histogram of how often latents fire, against counts by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.latents.firing import draw, firing_histogram
from sae_cli.pictures.picture import Integers
from tests.pictures.codes.test_histograms import legend
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n_examples", [1, 7, 51, 200, 1000, 12345])
def test_every_latent_is_in_one_bin_or_dead(n_examples: int) -> None:
    counts = (RNG.random(500) ** 6 * (n_examples + 1)).astype(np.int64)
    counts[:2] = 0, n_examples
    picture = firing_histogram(counts, n_examples)
    numbers = picture.numbers
    assert numbers["counts"].sum() + numbers["dead"] == 500
    assert numbers["dead"] == (counts == 0).sum()
    assert numbers["dense"] == (counts / n_examples > 0.1).sum()
    edges = numbers["edges"]
    assert 0.0 < edges[0] < 1 / n_examples * (1 + 1e-9)
    assert edges[-1] == 1.0
    np.testing.assert_allclose(edges[1:] / edges[:-1], 10**0.2)
    np.testing.assert_array_equal(numbers["shares"], counts / n_examples)
    axes = picture.figure.axes[0]
    assert axes.get_xscale() == "log"
    shown = sorted(legend(picture))
    assert shown == [
        f"dead, never: {int(numbers['dead'])}",
        f"dense, over 0.1: {int(numbers['dense'])}",
    ]
    check_looks(picture)


def test_it_is_drawn_where_codes_are_exactly_zero() -> None:
    sparse = random(50, 8) * (random(50, 8, seed=1) > 0.5)
    assert pictures(draw, make_view((7,), 8, active_above=0.0, codes=sparse))
    # All of these codes are above 0.
    assert not pictures(draw, make_view((7,), 8, active_above=0.0, codes=random(50, 8) + 0.1))
    assert not pictures(draw, make_view((7,), 8, active_above=0.1, codes=sparse))
    assert not pictures(draw, make_view((7,), 8, active_above=0.0, codes=sparse, has_prior=True))


@pytest.mark.parametrize(
    ("counts", "n"), [(np.zeros((2, 2), int), 5), (np.zeros(0, int), 5), (np.array([6]), 5)]
)
def test_counts_that_do_not_fit_are_refused(counts: Integers, n: int) -> None:
    with pytest.raises(ValueError, match="needed: \\(n_latents,\\), at least 1 latent"):
        firing_histogram(counts, n)
