"""The overview: the same numbers as the pictures that it gathers."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.latents.firing import firing_histogram
from sae_cli.pictures.overview import draw
from sae_cli.pictures.view import by_activity
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

SPARSE = random(200, 90) * (random(200, 90, seed=1) < np.linspace(0.0, 0.9, 90))


@pytest.mark.parametrize(
    ("shape", "n_latents"),
    [
        *(((1, 8, 8), 90), ((1, 28, 28), 7), ((1, 8, 8), 2), ((3, 32, 32), 1), ((1, 40, 7), 90)),
        *(
            ((1, 8, 8), 50),
            ((1, 40, 7), 50),
            ((1, 5, 50), 3),
            ((1, 5, 50), 90),
            ((1, 300, 300), 7),
            ((7,), 90),
            ((7,), 1),
        ),
    ],
)
def test_it_fits_any_shape(shape: tuple[int, ...], n_latents: int) -> None:
    view = make_view(shape, n_latents, active_above=0.0, codes=SPARSE[:, -n_latents:])
    (picture,) = draw(view)
    numbers = picture.numbers
    latents = numbers["latents"]
    np.testing.assert_array_equal(latents, by_activity(view)[: len(latents)])
    assert len(latents) == n_latents or len(latents) > 35
    np.testing.assert_array_equal(numbers["atoms"], view.atoms(latents))
    n = 8 if len(shape) == 3 else 2
    np.testing.assert_array_equal(numbers["x"], view.examples.x[:n])
    np.testing.assert_array_equal(numbers["x_hat"], view.examples.x_hat[:n])
    firing = firing_histogram(*view.firing)
    np.testing.assert_array_equal(numbers["counts"], firing.numbers["counts"])
    check_looks(picture)


def test_where_all_codes_are_active_their_values_are_shown() -> None:
    view = make_view((7,), 5, active_above=0.0, codes=random(40, 5) + 0.5)
    (picture,) = draw(view)
    counts, edges = view.code_counts
    np.testing.assert_array_equal(picture.numbers["counts"], counts)
    np.testing.assert_array_equal(picture.numbers["edges"], edges)
    assert not pictures(draw, make_view((7,), 5, decoder_trained=False))
