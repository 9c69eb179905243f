"""What holds for every picture: it renders, nothing is cut off, nothing is imported too early."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from sae_cli.pictures import (
    Picture,
    angle_histogram,
    code_histogram,
    code_scatter,
    decoded_grid,
    decoded_points,
    filters,
    loss_curves,
    mean_histogram,
    penalty_curves,
    reconstructions,
    render,
    samples,
    tree_map,
)

RNG = np.random.default_rng(0)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.random(shape, dtype=np.float32)


def lines(stages: list[str], epochs: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for index, stage in enumerate(stages):
        for epoch in range(epochs + 1):
            line: dict[str, object] = {"stage": stage, "epoch": index * epochs + epoch}
            for term in ("loss", "reconstruction", "penalty"):
                line[f"val/{term}"] = 1.0 / (epoch + 1)
                if epoch:
                    line[f"train/{term}"] = 1.1 / (epoch + 1)
            found.append(line)
    return found


def kl_lines() -> list[dict[str, object]]:
    return [{"stage": "a", "epoch": i, "val/loss": 1e-7 * (1 + i)} for i in range(4)]


NAN = np.full((5, 1, 8, 8), np.nan, np.float32)
PICTURES: dict[str, Callable[[], Picture]] = {
    "grey": lambda: reconstructions(random(10, 1, 28, 28), random(10, 1, 28, 28)),
    "corrupted": lambda: reconstructions(
        random(20, 1, 8, 8), random(20, 1, 8, 8) / 1e3, corrupted=random(20, 1, 8, 8)
    ),
    "one example": lambda: reconstructions(random(1, 1, 8, 8), random(1, 1, 8, 8)),
    "three bands": lambda: reconstructions(random(45, 1, 8, 8), random(45, 1, 8, 8)),
    "colour": lambda: reconstructions(random(6, 3, 32, 32), 2 * random(6, 3, 32, 32)),
    "large images": lambda: reconstructions(random(3, 3, 300, 200), random(3, 3, 300, 200)),
    "diverged": lambda: reconstructions(np.zeros((5, 1, 8, 8), np.float32), NAN),
    "vectors": lambda: reconstructions(random(9, 512), random(9, 512)),
    "one vector": lambda: reconstructions(random(1, 5), random(1, 5), corrupted=random(1, 5)),
    "vectors of NaN": lambda: reconstructions(random(3, 5), np.full((3, 5), np.nan)),
    "five sequences": lambda: reconstructions(random(5, 6, 7), random(5, 6, 7)),
    "400 filters": lambda: filters(random(400, 784) - 0.5, (1, 28, 28), name="f", title="filters"),
    "1 filter": lambda: filters(random(1, 64), (1, 8, 8), name="f", title="first-layer filters"),
    "2 filters": lambda: filters(random(2, 64), (1, 8, 8), name="f", title="filters"),
    "wide filters": lambda: filters(random(7, 200), (1, 2, 100), name="f", title="filters"),
    "zero filters": lambda: filters(np.zeros((5, 64)), (1, 8, 8), name="f", title="filters"),
    "equal filters": lambda: filters(np.ones((5, 64)), (1, 8, 8), name="f", title="filters"),
    "NaN filters": lambda: filters(NAN.reshape(5, 64), (1, 8, 8), name="f", title="filters"),
    "infinite filter": lambda: filters(
        np.full((2, 64), np.inf, np.float32), (1, 8, 8), name="f", title="filters"
    ),
    "colour filters": lambda: filters(random(9, 75) - 0.5, (3, 5, 5), name="f", title="filters"),
    "vector filters": lambda: filters(random(400, 512), (512,), name="f", title="atoms"),
    "1 vector filter": lambda: filters(random(1, 3), (3,), name="f", title="atoms"),
    "long title": lambda: filters(random(1, 64), (1, 8, 8), name="f", title="a title " * 8),
    "codes": lambda: code_histogram(
        np.arange(50) * 1000, np.linspace(0, 1, 51), activation_name="sigmoid", active_above=0.01
    ),
    "no codes": lambda: code_histogram(
        np.zeros(3, int), np.linspace(0, 1, 4), activation_name="relu", active_above=0.0
    ),
    "means": lambda: mean_histogram(random(300) / 5, target=0.1),
    "equal means": lambda: mean_histogram(np.full(30, 0.1, np.float32), target=0.1),
    "1 mean": lambda: mean_histogram(np.zeros(1, np.float32)),
    "NaN means": lambda: mean_histogram(np.full(3, np.nan, np.float32)),
    "curves": lambda: loss_curves(lines(["joint"], 10), terms=["reconstruction", "penalty"]),
    "stages": lambda: loss_curves(lines(["greedy_1", "fine_tune"], 3), terms=["reconstruction"]),
    "30 stages": lambda: loss_curves(lines([f"greedy layer {i}" for i in range(30)], 1), terms=[]),
    "long stage": lambda: loss_curves(lines(["a", "b" * 60], 2), terms=[]),
    "1 epoch": lambda: loss_curves(lines(["joint"], 1), terms=["penalty"]),
    "evaluation only": lambda: loss_curves(lines(["joint"], 0), terms=["penalty"]),
    "no lines": lambda: loss_curves([], terms=["penalty"]),
    "tiny values": lambda: loss_curves(kl_lines(), terms=[]),
    "scatter": lambda: code_scatter(random(5000, 2), np.arange(5000) % 10),
    "flat scatter": lambda: code_scatter(random(30, 2) * np.array([1e6, 1e-6], np.float32)),
    "1 code": lambda: code_scatter(np.zeros((1, 2), np.float32), np.zeros(1, int)),
    "many classes": lambda: code_scatter(random(300, 2), np.arange(300) % 49),
    "too many classes": lambda: code_scatter(random(300, 2), np.arange(300) % 51),
    "NaN codes": lambda: code_scatter(np.full((4, 2), np.nan, np.float32), np.arange(4)),
    "points": lambda: decoded_points(
        *(random(30, 2), random(30, 784), (1, 28, 28)), codes=random(500, 2), labels=np.arange(500)
    ),
    "1 point": lambda: decoded_points(
        random(1, 2), random(1, 64), (1, 8, 8), codes=random(50, 2) * 1e6
    ),
    "100 points": lambda: decoded_points(
        random(100, 2), random(100, 3072), (3, 32, 32), codes=random(9, 2)
    ),
    "wide points": lambda: decoded_points(
        random(7, 2), random(7, 200), (1, 2, 100), codes=random(9, 2)
    ),
    "grid": lambda: decoded_grid(
        random(400, 784), (1, 28, 28), xs=np.linspace(-1, 1, 20), ys=np.linspace(1, -1, 20)
    ),
    "wide grid": lambda: decoded_grid(
        random(30, 64), (1, 8, 8), xs=random(10) * 1e-5 - 1, ys=random(3) * -1e-5
    ),
    "samples": lambda: samples(random(64, 784), (1, 28, 28), title="64 draws"),
    "1 sample": lambda: samples(random(1, 30000), (3, 100, 100), title="a title " * 8),
    "NaN samples": lambda: samples(NAN.reshape(5, 64), (1, 8, 8), title="5 draws"),
    "angles": lambda: angle_histogram(random(400)),
    "obtuse angles": lambda: angle_histogram(np.array([0.1, 3.0, np.nan])),
    "penalties": lambda: penalty_curves(0.1),
    "high target": lambda: penalty_curves(0.999),
    "tree": lambda: tree_map(random(40, 64), (1, 8, 8), (np.arange(40) + 2) // 3 - 1),
    "wide tree": lambda: tree_map(random(500, 75), (3, 5, 5), np.minimum(np.arange(500), 1) - 1),
    "no branches": lambda: tree_map(random(9, 784), (1, 28, 28), np.full(9, -1)),
    "deep tree": lambda: tree_map(random(20, 64), (1, 8, 8), np.arange(20) - 1),
    "1 atom": lambda: tree_map(np.zeros((1, 200)), (1, 2, 100), np.array([-1])),
}


@cache
def picture_of(kind: str) -> Picture:
    """Built once for all that only look at it."""
    return PICTURES[kind]()


@pytest.mark.parametrize("kind", PICTURES)
def test_renders_as_a_png_of_the_figures_size(kind: str) -> None:
    picture = picture_of(kind)
    png = render(picture)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(io.BytesIO(png))
    width, height = picture.figure.get_size_inches() * 150
    assert pixels.shape[:2] == pytest.approx((height, width), abs=1)
    assert pixels.shape[0] < 2000 and pixels.shape[1] < 2000
    assert pixels[..., :3].std() > 0.01


@pytest.mark.parametrize(
    "kind", ["grey", "400 filters", "vector filters", "means", "30 stages", "points", "tree"]
)
def test_the_same_numbers_give_the_same_bytes(kind: str) -> None:
    start = RNG.bit_generator.state
    first = render(PICTURES[kind]())
    RNG.bit_generator.state = start
    assert render(PICTURES[kind]()) == first


@pytest.mark.parametrize("kind", PICTURES)
def test_nothing_is_cut_off_and_margins_are_small(kind: str) -> None:
    figure = picture_of(kind).figure
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()  # of all artists, in inches
    width, height = figure.get_size_inches()
    assert drawn.x0 >= -0.01 and drawn.x1 <= width + 0.01
    assert drawn.y0 >= -0.01 and drawn.y1 <= height + 0.01
    assert drawn.x0 < 0.2 and drawn.y0 < 0.3 and drawn.y1 > height - 0.2


@pytest.mark.parametrize("kind", PICTURES)
def test_numbers_are_arrays_that_a_npz_file_keeps(kind: str) -> None:
    numbers = picture_of(kind).numbers
    buffer = io.BytesIO()
    np.savez(buffer, **numbers)  # type: ignore[arg-type]
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as kept:
        assert set(kept.files) == set(numbers)
        for name, values in numbers.items():
            np.testing.assert_array_equal(kept[name], values)


def test_a_picture_keeps_its_own_copy_of_the_numbers() -> None:
    x, x_hat = random(3, 1, 4, 4), random(3, 1, 4, 4)
    weights, means = random(4, 16), random(30)
    counts, edges = np.arange(4), np.linspace(0, 1, 5)
    codes, xs, parents = random(4, 2), random(2), np.array([-1, 0, 0, 1])
    given: list[npt.NDArray[Any]] = [x, x_hat, weights, means, counts, edges, codes, xs, parents]
    before = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    pictures = [
        reconstructions(x, x_hat, corrupted=x),
        filters(weights, (1, 4, 4), name="f", title="filters"),
        mean_histogram(means),
        code_histogram(counts, edges, activation_name="relu", active_above=0.1),
        angle_histogram(means),
        code_scatter(codes, parents),
        decoded_points(codes, weights, (1, 4, 4), codes=codes, labels=parents),
        decoded_grid(weights, (1, 4, 4), xs=xs, ys=xs),
        samples(weights, (1, 4, 4), title="4 draws"),
        tree_map(weights, (1, 4, 4), parents),
    ]
    for picture in pictures:
        render(picture)
        for number in picture.numbers.values():
            assert not any(np.shares_memory(number, array) for array in given)
    for array, old in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_matplotlib_is_imported_by_the_first_picture_and_pyplot_never() -> None:
    program = """
import sys
import numpy as np
import numpy.typing as npt
import sae_cli.pictures as pictures
assert "matplotlib" not in sys.modules
x = np.zeros((2, 1, 4, 4), np.float32)
pictures.render(pictures.reconstructions(x, x))
pictures.render(pictures.filters(x.reshape(2, 16), (1, 4, 4), name="f", title="filters"))
pictures.render(pictures.filters(x.reshape(2, 16), (16,), name="f", title="filters"))
pictures.render(pictures.mean_histogram(x[0, 0, 0]))
pictures.render(pictures.loss_curves([], terms=[]))
codes = np.eye(2, dtype=np.float32)
tiles, one = x.reshape(2, 16), np.zeros(2, int)
pictures.render(pictures.code_scatter(codes, one))
pictures.render(pictures.decoded_points(codes, tiles, (1, 4, 4), codes=codes))
pictures.render(pictures.decoded_grid(tiles, (1, 4, 4), xs=codes[0], ys=codes[0, :1]))
pictures.render(pictures.samples(tiles, (1, 4, 4), title="2 draws"))
pictures.render(pictures.angle_histogram(codes[0]))
pictures.render(pictures.penalty_curves(0.1))
pictures.render(pictures.tree_map(tiles, (1, 4, 4), one - 1))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_figures_are_plain_figures() -> None:
    assert type(mean_histogram(random(3)).figure) is Figure
