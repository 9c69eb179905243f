"""Worst reconstructions, beside what NumPy finds."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.examples.worst import draw, worst_reconstructions
from sae_cli.pictures.view import Worst
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (7,), (2, 3, 3)])
def test_errors_fall_and_differences_are_those_of_the_two(shape: tuple[int, ...]) -> None:
    view = make_view(shape, 5)
    (picture,) = draw(view)
    numbers = picture.numbers
    n = 12 if len(shape) == 3 and shape[0] != 2 else 8
    assert len(numbers["x"]) == n and numbers["n_compared"] == 12
    np.testing.assert_array_equal(numbers["difference"], numbers["x_hat"] - numbers["x"])
    mse = (numbers["difference"].reshape(n, -1).astype(np.float64) ** 2).mean(1)
    np.testing.assert_allclose(numbers["mse"], mse, rtol=1e-6)
    assert (np.diff(numbers["mse"]) <= 0).all()
    np.testing.assert_array_equal(numbers["x"], view.examples.x[numbers["rows"]])
    assert picture.figure.get_suptitle() == f"Worst reconstructions: {n} of 12 test examples"
    check_looks(picture)


def test_they_are_drawn_where_the_decoder_was_trained() -> None:
    assert not pictures(draw, make_view((7,), 5, decoder_trained=False))


def test_shapes_that_do_not_fit_are_refused() -> None:
    x = np.zeros((3, 7), np.float32)
    for other, n in ((x[:2], 3), (x, 2)):
        with pytest.raises(ValueError, match="needed: at least 1 example"):
            worst_reconstructions(Worst(x, other, np.zeros(n), np.arange(3), 5))
