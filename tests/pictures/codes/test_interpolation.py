"""The line between the codes of two inputs, decoded."""

from __future__ import annotations

import numpy as np
import pytest

from sae_cli.pictures.codes.interpolation import draw, interpolation, line_between
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random


def test_the_line_begins_and_ends_at_the_codes_in_equal_steps() -> None:
    first, last = random(4, 6), random(4, 6, seed=1)
    line = line_between(first, last, 5)
    assert line.shape == (4, 5, 6) and line.dtype == np.float32
    for step in range(5):
        np.testing.assert_allclose(line[:, step], first + step / 4 * (last - first), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1, 40, 90)])
def test_pairs_of_examples_and_what_is_decoded(shape: tuple[int, ...]) -> None:
    view = make_view(shape, 5)
    (picture,) = draw(view)
    numbers = picture.numbers
    np.testing.assert_array_equal(numbers["first"], view.examples.x[0::2])
    np.testing.assert_array_equal(numbers["last"], view.examples.x[1::2])
    ends = view.decode(np.concatenate([view.codes[0:12:2], view.codes[1:12:2]]))
    ends = ends.reshape(2, 6, *shape)
    np.testing.assert_allclose(numbers["decoded"][:, 0], ends[0], atol=1e-5)
    np.testing.assert_allclose(numbers["decoded"][:, -1], ends[1], atol=1e-5)
    check_looks(picture)


def test_it_is_drawn_of_images_that_are_decoded() -> None:
    assert not pictures(draw, make_view((7,), 5))
    assert not pictures(draw, make_view((1, 8, 8), 5, decoder_trained=False))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="needed: at least 1 pair"):
        interpolation(random(2, 1, 4, 4), random(3, 5, 1, 4, 4), random(3, 1, 4, 4))
