"""Tests of every registered picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sae_cli.pictures import pictures_of, render
from sae_cli.pictures.chapters import CHAPTERS
from tests.conftest import slow
from tests.pictures.looks import check_looks
from tests.pictures.views import VIEWS, MadeUp

# It has the pictures of two latents with a prior, but for those of images and labels.
LIKE_ANOTHER = "two latents of vectors"
MOST_VIEWS = [*(name for name in VIEWS if name != LIKE_ANOTHER), *slow([LIKE_ANOTHER])]
DRAWS = [draw for draws in CHAPTERS.values() for draw in draws]


def test_every_file_has_one_function_and_stands_by_name_in_its_chapter() -> None:
    modules = [[draw.__module__ for draw in draws] for draws in CHAPTERS.values()]
    assert all(found and found == sorted(found) for found in modules)
    assert len({draw.__module__ for draw in DRAWS}) == len(DRAWS)


def test_every_function_draws_something_and_names_are_their_own() -> None:
    names = [{p.name for view in VIEWS.values() for p in draw(view())} for draw in DRAWS]
    assert all(names)
    assert len(set.union(*names)) == sum(map(len, names))


@pytest.mark.parametrize("name", MOST_VIEWS)
def test_pictures_of_a_view(name: str) -> None:
    """Pictures look right and have distinct names; the same numbers give the same bytes."""
    names = []
    for one, other in zip(pictures_of(VIEWS[name]()), pictures_of(VIEWS[name]()), strict=True):
        assert check_looks(one) == render(other), one.name
        names.append(one.name)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", MOST_VIEWS)
def test_a_picture_shows_the_same_whatever_was_drawn_before(name: str) -> None:
    view = VIEWS[name]()
    for draw in reversed(DRAWS):
        for one, other in zip(draw(view), draw(VIEWS[name]()), strict=True):
            for key, values in one.numbers.items():
                np.testing.assert_array_equal(values, other.numbers[key])


@pytest.mark.parametrize("name", MOST_VIEWS)
def test_a_picture_keeps_its_own_copy_of_the_numbers(name: str) -> None:
    view = VIEWS[name]()
    given = arrays(view)
    before = [array.copy() for array in given]
    for picture in pictures_of(view):
        picture.figure.draw_without_rendering()
        for number in picture.numbers.values():
            assert not any(np.shares_memory(number, array) for array in given + view.decoded)
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


def arrays(view: MadeUp) -> list[npt.NDArray[Any]]:
    values = [*view.examples, *vars(view).values()]
    return [value for value in values if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("views", ["a sparse code of vectors", *slow(["all"])])
def test_matplotlib_is_imported_by_the_first_picture_and_pyplot_never(views: str) -> None:
    program = f"""
import sys
from sae_cli.pictures import pictures_of, render
from tests.pictures.views import VIEWS
assert "matplotlib" not in sys.modules
views = [view for name, view in VIEWS.items() if {views!r} in ("all", name)]
first = {{picture.name: picture for view in views for picture in pictures_of(view())}}
for picture in first.values():
    render(picture)
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
