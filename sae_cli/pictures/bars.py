"""What histograms share: a figure with empty axes for bars, and a legend above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae_cli.pictures.column import place_column
from sae_cli.pictures.picture import TEXT_POINTS, heading, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_histogram(title: str) -> tuple[Figure, Axes]:
    """Make a figure with a title and empty axes for bars; see :func:`place_bars`."""
    figure = new_figure(6.4, 3.6, constrained=False)
    heading(figure, title)
    axes = figure.subplots()
    plain_axes(axes, grid=True)
    axes.grid(axis="x", visible=False)
    return figure, axes


def place_bars(figure: Figure) -> None:
    """Place the axes of :func:`new_histogram` when all is drawn, with room for a legend."""
    place_column(figure, above=0.58)


def legend_above(axes: Axes) -> None:
    """Draw the legend above the axes, where no bar can reach it."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=2,
        frameon=False,
        fontsize=TEXT_POINTS,
    )
