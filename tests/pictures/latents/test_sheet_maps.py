"""Topographic and orientation maps: the right atom in the right place, and the right numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sae_cli.pictures import Picture, render
from sae_cli.pictures.latents.sheet_maps import draw, orientation_map, topographic_map, windows
from sae_cli.pictures.latents.topography import neighbour_similarity, orientations
from sae_cli.pictures.tiles import GAP
from tests.pictures.latents.test_topography import gabor, pinwheel
from tests.pictures.views import make_view, pictures

RNG = np.random.default_rng(3)
SHEET = (6, 6)
Floats = npt.NDArray[np.floating[Any]]


def pixels_of(picture: Picture) -> Floats:
    return np.asarray(picture.figure.axes[0].images[0].get_array())


def around_a_pinwheel() -> Floats:
    """Gabors ``(36, 144)`` whose angle makes half a turn around the middle."""
    return np.stack([gabor(float(angle)).ravel() for angle in pinwheel(6, 0.5).ravel()])


def test_atoms_stand_in_the_rows_and_columns_of_their_sheet() -> None:
    atoms = np.zeros((6, 4))
    atoms[4] = [1.0, -1.0, 1.0, -1.0]  # row 2, column 0 of 3 x 2
    picture = topographic_map(atoms, (1, 2, 2), (3, 2), wrap=False)
    assert picture.name == "topographic_map"
    pixels = pixels_of(picture).astype(int)
    cell = (pixels.shape[1] - GAP) // 2
    assert (pixels.shape[0] - GAP) // 3 == cell
    coloured = np.argwhere(np.ptp(pixels, axis=2) > 100)
    assert (coloured[:, 0] >= 2 * cell).all() and (coloured[:, 1] < cell + GAP).all()
    left, right = pixels[2 * cell + GAP + 2, [GAP + 2, cell - 3]]
    assert left[0] > left[2] and right[2] > right[0]  # red above zero, blue below


def test_the_numbers_of_a_topographic_map() -> None:
    atoms = RNG.normal(size=(36, 64)).astype(np.float32)
    picture = topographic_map(atoms, (1, 8, 8), SHEET, wrap=True)
    expected = neighbour_similarity(atoms, SHEET, wrap=True)
    np.testing.assert_array_equal(picture.numbers["atoms"], atoms)
    assert picture.numbers["sheet"].tolist() == [6, 6]
    names = ("similarity", "similarity_shuffled", "similarity_z")
    assert tuple(float(picture.numbers[name]) for name in names) == expected
    assert "(a torus)" in picture.figure.get_suptitle()


def test_an_orientation_map_shows_angles_and_pinwheels() -> None:
    atoms = around_a_pinwheel()
    picture = orientation_map(atoms, (1, 12, 12), SHEET, wrap=False)
    assert picture.name == "orientation_map"
    angles, strengths = orientations(atoms.reshape(36, 12, 12))
    np.testing.assert_allclose(picture.numbers["angles"].ravel(), angles)
    np.testing.assert_allclose(picture.numbers["strengths"].ravel(), strengths)
    assert np.argwhere(picture.numbers["windings"] != 0).tolist() == [[2, 2]]
    assert picture.numbers["windings"][2, 2] == 0.5
    assert float(picture.numbers["pinwheels"]) == pytest.approx(1 / 25)
    assert float(picture.numbers["smoothness_z"]) > 5
    (dots,) = picture.figure.axes[0].lines
    assert np.asarray(dots.get_xydata()).tolist() == [[2.5, 2.5]]
    assert "1 pinwheels" in picture.figure.get_suptitle()


def test_equal_angles_have_equal_hues_and_weak_ones_are_pale() -> None:
    atoms = np.stack([gabor(0.3).ravel()] * 4)
    atoms[3] = gabor(0.0, period=1e9, phase=0.0).ravel()
    pixels = pixels_of(orientation_map(atoms, (1, 12, 12), (2, 2), wrap=True))
    np.testing.assert_allclose(pixels[0, 0], pixels[0, 1])
    assert pixels[1, 1] == pytest.approx(1.0, abs=1e-3)
    assert pixels[0, 0].min() < 0.5


def test_local_fields_are_cut_to_their_windows() -> None:
    images = np.zeros((3, 2, 8, 9))
    images[0, 1, 1:4, 2:5] = 1.0
    images[1, 0, 6:8, 8:9] = 2.0
    cut = windows(images)
    assert cut.shape == (3, 2, 3, 3)
    assert (cut[0, 1] == 1.0).all() and not cut[0, 0].any()
    np.testing.assert_array_equal(cut[1, 0], [[0, 0, 0], [0, 0, 2], [0, 0, 2]])
    whole = RNG.normal(size=(2, 1, 4, 5))
    np.testing.assert_array_equal(windows(whole), whole)


@pytest.mark.parametrize("draw", [topographic_map, orientation_map])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sheet", [(1, 1), (2, 8), (16, 16)])
def test_any_sheet_of_images_can_be_drawn(draw: Any, channels: int, sheet: tuple[int, int]) -> None:
    atoms = RNG.normal(size=(sheet[0] * sheet[1], channels * 25))
    atoms[0] = 0.0
    picture = draw(atoms, (channels, 5, 5), sheet, wrap=True)
    assert render(picture) == render(draw(atoms, (channels, 5, 5), sheet, wrap=True))


@pytest.mark.parametrize("draw", [topographic_map, orientation_map])
def test_atoms_that_do_not_fit(draw: Any) -> None:
    with pytest.raises(ValueError, match=r"needed: \(6, 25\)"):
        draw(np.ones((5, 25)), (1, 5, 5), (2, 3), wrap=True)
    with pytest.raises(ValueError, match="images of"):
        draw(np.ones((6, 25)), (25,), (2, 3), wrap=True)


def test_drawn_where_images_have_a_sheet_of_two_axes() -> None:
    maps = ["topographic_map", "orientation_map"]
    assert pictures(draw, make_view((1, 8, 8), 6, sheet=(2, 3))) == maps
    assert pictures(draw, make_view((1, 8, 8), 6)) == []
    assert pictures(draw, make_view((1, 8, 8), 6, sheet=(6,))) == []
    assert pictures(draw, make_view((64,), 6, sheet=(2, 3))) == []
    assert pictures(draw, make_view((1, 8, 8), 6, sheet=(2, 3), dictionary=None)) == []
    for wrap in (False, True):
        drawn, _ = draw(make_view((1, 8, 8), 6, sheet=(2, 3), wrap=wrap))
        assert ("torus" in drawn.figure.get_suptitle()) is wrap
