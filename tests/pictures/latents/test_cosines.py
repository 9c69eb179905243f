"""The histogram of the largest cosine between atoms, against all cosines of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from sae_cli.pictures.latents import cosines
from sae_cli.pictures.latents.cosines import cosine_histogram, draw, largest_cosines
from tests.pictures.codes.test_histograms import legend
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(0)
ATOMS = (RNG.normal(size=(300, 9)) * RNG.random((300, 1))).astype(np.float32)


@pytest.mark.parametrize("rows", [7, 256, 1000])
def test_as_scikit_learn(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosines, "ROWS", rows)
    wanted = cosine_similarity(ATOMS)
    np.fill_diagonal(wanted, -1.0)
    np.testing.assert_allclose(largest_cosines(ATOMS, 300), wanted.max(1), atol=1e-6)
    some = np.arange(50) * 6
    np.testing.assert_allclose(largest_cosines(ATOMS, 50), wanted.max(1)[some], atol=1e-6)


def test_atoms_without_a_direction_are_nobodys_neighbours() -> None:
    atoms = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.1], [np.nan, 1.0]], np.float32)
    found = largest_cosines(atoms, 10)
    assert found[[0, 2]] == pytest.approx(-1 / np.sqrt(1.01), rel=1e-6)
    assert np.isnan(found[[1, 3]]).all()
    picture = cosine_histogram(found, n_atoms=4)
    assert picture.figure.get_suptitle().endswith("(4 atoms, 2 left out)")
    assert picture.numbers["counts"].sum() == 2
    check_looks(picture)
    check_looks(cosine_histogram(np.full(3, np.nan), n_atoms=3))


def test_copies_are_counted() -> None:
    atoms = np.concatenate([ATOMS[:20], ATOMS[:3] * 2.5])
    found = largest_cosines(atoms, 100)
    picture = cosine_histogram(found, n_atoms=23)
    assert picture.numbers["alike"] == (found > 0.9).sum() >= 6
    assert legend(picture) == [f"nearly copies, above 0.9: {int(picture.numbers['alike'])}"]
    assert found.max() <= 1.0
    check_looks(picture)
    some = cosine_histogram(found[:5], n_atoms=23)
    assert "(23 atoms, 5 compared)" in some.figure.get_suptitle()


def test_it_is_drawn_of_a_trained_linear_decoder() -> None:
    assert pictures(draw, make_view((7,), 8)) == ["cosine_histogram"]
    assert not pictures(draw, make_view((7,), 8, decoder_trained=False))
    assert not pictures(draw, make_view((7,), 8, dictionary=None))
    assert not pictures(draw, make_view((7,), 1, dictionary=random(1, 7)))
    with pytest.raises(ValueError, match="at least 1"):
        cosine_histogram(np.zeros((2, 2)), n_atoms=2)
