"""Histograms of codes and of mean activities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.patches import StepPatch

from sae_cli.pictures import Picture
from sae_cli.pictures.codes.histograms import code_histogram, draw, mean_histogram
from tests.pictures.looks import check_looks
from tests.pictures.views import make_view, pictures, random

RNG = np.random.default_rng(3)


def bars(picture: Picture) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Heights and edges of the drawn bars."""
    (found,) = [p for p in picture.figure.axes[0].patches if isinstance(p, StepPatch)]
    heights, edges, _ = found.get_data()
    return heights, edges


def markers(picture: Picture) -> dict[str, tuple[float, str]]:
    """The place and style of each vertical line, by name."""
    return {
        str(line.get_label()): (np.asarray(line.get_xydata())[0, 0], str(line.get_linestyle()))
        for line in picture.figure.axes[0].lines
    }


def legend(picture: Picture) -> list[str]:
    found = picture.figure.axes[0].get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_codes_are_drawn_as_counted_on_a_log_scale() -> None:
    codes = RNG.random(5000) ** 4
    counts, edges = np.histogram(codes, 40, (0, 1))
    picture = code_histogram(counts, edges, activation_name="sigmoid", active_above=0.25)
    assert picture.name == "code_histogram"
    heights, drawn_edges = bars(picture)
    np.testing.assert_array_equal(heights, counts)
    np.testing.assert_array_equal(drawn_edges, edges)
    axes = picture.figure.axes[0]
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert 0 < low < 1 and high > counts.max()
    assert picture.figure.get_suptitle() == "Code activations (sigmoid): 5,000 codes"
    np.testing.assert_array_equal(picture.numbers["counts"], counts)
    np.testing.assert_array_equal(picture.numbers["edges"], edges)
    assert float(picture.numbers["active_above"]) == 0.25


def test_the_threshold_is_marked_and_named_even_beyond_the_codes() -> None:
    picture = code_histogram(
        np.array([3, 4]), np.array([0.0, 1.0, 2.0]), activation_name="relu", active_above=5.0
    )
    assert markers(picture)["active above 5"] == (5.0, "--")
    assert picture.figure.axes[0].get_xlim()[1] > 5
    assert legend(picture) == ["active above 5"]


@pytest.mark.parametrize(("bins", "edges"), [(3, 3), (0, 1)])
def test_edges_that_do_not_fit_are_refused(bins: int, edges: int) -> None:
    with pytest.raises(ValueError, match="at least 1 bin"):
        code_histogram(
            np.zeros(bins, int), np.zeros(edges), activation_name="relu", active_above=0.0
        )


def test_means_are_counted_as_numpy_counts_them() -> None:
    means = (RNG.random(300) ** 2).astype(np.float32)
    picture = mean_histogram(means, target=0.1)
    assert picture.name == "mean_histogram"
    numbers = picture.numbers
    assert set(numbers) == {"means", "counts", "edges", "mean", "target"}
    np.testing.assert_array_equal(numbers["means"], means)
    expected, _ = np.histogram(means.astype(np.float64), numbers["edges"])
    np.testing.assert_array_equal(numbers["counts"], expected)
    assert numbers["counts"].sum() == 300
    assert len(numbers["counts"]) == int(2 * 300**0.5)
    assert float(numbers["mean"]) == pytest.approx(sum(map(float, means)) / 300)
    assert float(numbers["target"]) == 0.1
    np.testing.assert_array_equal(bars(picture)[0], expected)


def test_mean_and_target_are_marked_and_named() -> None:
    means = np.array([0.1, 0.2, 0.6])
    with_target = mean_histogram(means, target=0.05)
    assert legend(with_target) == ["mean of all latents 0.3", "target 0.05"]
    assert markers(with_target)["target 0.05"] == (0.05, "--")
    mean, style = markers(with_target)["mean of all latents 0.3"]
    assert mean == pytest.approx(0.3) and style == "-"
    without = mean_histogram(means)
    assert legend(without) == ["mean of all latents 0.3"]
    assert "target" not in without.numbers


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e-9, 1e9])
def test_equal_means_stand_in_one_bin_with_room_around(value: float) -> None:
    nearly = np.full(20, value, np.float64)
    nearly[3] = np.nextafter(value, np.inf)
    numbers = mean_histogram(nearly).numbers
    assert numbers["counts"].max() == 20
    assert (numbers["counts"] > 0).sum() == 1
    middle = (numbers["edges"][0] + numbers["edges"][-1]) / 2
    assert middle == pytest.approx(value)


def test_means_that_are_not_finite_are_left_out_and_mentioned() -> None:
    picture = mean_histogram(np.array([0.1, np.nan, 0.3, np.inf]))
    assert picture.numbers["counts"].sum() == 2
    assert float(picture.numbers["mean"]) == pytest.approx(0.2)
    assert picture.figure.get_suptitle() == "Mean activity of each latent (4 latents, 2 not finite)"


def test_an_empty_array_of_means_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 latent"):
        mean_histogram(np.zeros(0))


def test_drawn_of_every_run() -> None:
    assert pictures(draw, make_view((7,), 5)) == ["code_histogram", "mean_histogram"]
    codes, means = draw(make_view((7,), 5, target=0.2))
    assert codes.figure.get_suptitle() == "Code activations (sigmoid): 500 codes"
    assert float(means.numbers["target"]) == 0.2


EDGES: dict[str, Callable[[], Picture]] = {
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
}


@pytest.mark.parametrize("edge", EDGES)
def test_looks_right(edge: str) -> None:
    check_looks(EDGES[edge]())
