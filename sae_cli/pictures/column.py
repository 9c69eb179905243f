"""The place of axes that stand in one column, with a margin for the labels at their left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAD = 0.08  # inches: between the labels of the vertical axes and the edge of the figure
BELOW = 0.47  # inches: for the numbers and the name of the horizontal axis
GAP = 0.14  # inches: between axes


def place_column(figure: Figure, *, above: float, right: float = 0.2) -> None:
    """Place the axes of a figure when all is drawn on them.

    Only the labels at their left are measured, and those once: a constrained layout measures all
    twice, which takes longer than to draw the figure.

    Args:
        above, right: inches above the axes and beside them.
    """
    width, height = figure.get_size_inches()
    n = len(figure.axes)
    each = (height - above - BELOW - GAP * (n - 1)) / n
    # The height comes first, because the numbers at an axis depend on it.
    figure.subplots_adjust(
        right=1 - right / width, bottom=BELOW / height, top=1 - above / height, hspace=GAP / each
    )
    left = PAD + max(_width_at_left(axes) for axes in figure.axes)
    figure.subplots_adjust(left=left / width)


def _width_at_left(axes: Axes) -> float:
    """Measure the numbers and the name of a vertical axis, in inches."""
    canvas: Any = axes.figure.canvas
    labels = axes.yaxis.get_tightbbox(canvas.get_renderer())
    if labels is None:
        return 0.0
    return float(axes.bbox.x0 - labels.x0) / axes.figure.dpi
