"""Principal components, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from sae_cli.pictures.codes.principal import draw, principal_components
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random


@pytest.mark.parametrize("shape", [(200, 12), (30, 90), (50, 50), (3, 4)])
def test_components_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    codes = random(*shape) * np.linspace(1.0, 3.0, shape[1], dtype=np.float32)
    found = principal_components(codes)
    other = PCA(2, svd_solver="full").fit(codes.astype(np.float64))
    expected = other.transform(codes.astype(np.float64))
    # scikit-learn chooses signs in another way.
    signs = np.sign((found.points * expected).sum(0))
    np.testing.assert_allclose(found.points, expected * signs, atol=1e-5)
    np.testing.assert_allclose(found.shares, other.explained_variance_ratio_, rtol=1e-6)
    extreme = np.abs(found.points).argmax(0)
    assert (found.points[extreme, [0, 1]] > 0).all()


def test_it_is_drawn_of_more_than_two_latents_that_differ() -> None:
    view = make_view((7,), 5)
    (picture,) = draw(view)
    np.testing.assert_array_equal(
        picture.numbers["points"], principal_components(view.codes).points
    )
    np.testing.assert_array_equal(picture.numbers["labels"], view.labels)
    check_looks(picture)
    assert not pictures(draw, make_view((7,), 2))
    assert not pictures(draw, make_view((7,), 5, codes=np.zeros((9, 5), np.float32)))
    assert not pictures(draw, make_view((7,), 5, codes=np.full((9, 5), np.nan, np.float32)))


def test_classes_are_named_where_they_have_names() -> None:
    names = ["T-shirt/top", "a name that is far too long for a legend"]
    (picture,) = draw(make_view((7,), 5, class_names=names))
    (legend,) = (axes.get_legend() for axes in picture.figure.axes)
    assert legend is not None
    found = [text.get_text() for text in legend.get_texts()]
    assert found == ["T-shirt/top", "a name that is …", *map(str, range(2, 10))]
    check_looks(picture)
