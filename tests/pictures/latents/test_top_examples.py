"""The table of the examples that excite latents most."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.latents.top_examples import choose_latents, draw, top_examples
from sae_cli.pictures.view import by_activity
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

SPARSE = random(200, 30) * (random(200, 30, seed=1) < np.linspace(0.05, 0.9, 30))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (7,)])
@pytest.mark.parametrize("part", ["", "/data/a-very-long-name-of-a-folder/shard-00017.safetensors"])
def test_values_and_rows_are_those_of_the_highest_codes(shape: tuple[int, ...], part: str) -> None:
    view = make_view(shape, 30, active_above=0.0, codes=SPARSE, part=part)
    (picture,) = draw(view)
    numbers = picture.numbers
    assert numbers["values"].shape == numbers["rows"].shape == (8, 8)
    for latent, values, rows in zip(
        numbers["latents"], numbers["values"], numbers["rows"], strict=True
    ):
        np.testing.assert_array_equal(values, np.sort(SPARSE[:, latent])[::-1][:8])
        np.testing.assert_array_equal(values, SPARSE[rows, latent])
    np.testing.assert_array_equal(numbers["firing"], (SPARSE != 0).mean(0)[numbers["latents"]])
    assert (numbers["parts"] == part).all()
    assert ("x" in numbers) == ("atoms" in numbers) == (len(shape) == 3)
    check_looks(picture)


def test_examples_that_are_not_images_are_named_by_part_and_row() -> None:
    (plain,) = draw(make_view((7,), 30, active_above=0.0, codes=SPARSE))
    row, value = plain.numbers["rows"][0, 0], plain.numbers["values"][0, 0]
    assert f"{value:.3g}\nrow {row}" in [text.get_text() for text in plain.figure.texts]
    (parts,) = draw(make_view((7,), 30, active_above=0.0, codes=SPARSE, part="/data/acts/b.npy"))
    assert f"{value:.3g}\nb.npy: {row}" in [text.get_text() for text in parts.figure.texts]


def test_most_active_latents_and_some_of_the_middle_are_chosen() -> None:
    order = np.random.default_rng(0).permutation(100)
    chosen = choose_latents(order, 81)
    np.testing.assert_array_equal(chosen[:5], order[:5])
    np.testing.assert_array_equal(chosen[5:], order[39:42])
    np.testing.assert_array_equal(choose_latents(order, 4), order[:4])
    assert len(set(choose_latents(order, 11))) == 8
    assert not len(choose_latents(order, 0))


def test_dead_latents_and_untrained_atoms_are_not_shown() -> None:
    codes = SPARSE.copy()
    codes[:, 5:] = 0.0
    (picture,) = draw(make_view((1, 4, 4), 30, active_above=0.0, codes=codes))
    assert set(picture.numbers["latents"]) == set(range(5))
    assert not pictures(draw, make_view((7,), 30, active_above=0.0, codes=0.0 * codes))
    (picture,) = draw(make_view((1, 4, 4), 30, decoder_trained=False))
    assert "atoms" not in picture.numbers


def test_shapes_that_do_not_fit_are_refused() -> None:
    view = make_view((7,), 30)
    found = view.excited(by_activity(view)[:4], 8)
    with pytest.raises(ValueError, match="3 latents, values of shape"):
        top_examples(found, np.arange(3), firing=np.ones(3))
