"""The layout of axes in one column: margins as wide as what stands in them, measured once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.layout_engine import LayoutEngine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAD = 0.08  # inches: between the labels of the vertical axes and the edge of the figure
BOTTOM = 0.5  # inches: for the numbers and the label of the horizontal axis
GAP = 0.14  # inches: between the axes of a column


class Column(LayoutEngine):
    """Places the axes of one column; only the labels at their left are measured.

    A constrained layout measures everything twice, which takes longer than to draw the figure.

    Attributes:
        top, right: inches above and beside the axes.
    """

    _adjust_compatible = True
    _colorbar_gridspec = True

    def __init__(self, *, top: float, right: float = 0.2) -> None:
        super().__init__()
        self.top, self.right = top, right

    def execute(self, fig: Figure) -> None:
        width, height = fig.get_size_inches()
        n, room = len(fig.axes), height - self.top - BOTTOM
        # The height comes first, because the numbers at an axis depend on it.
        fig.subplots_adjust(
            right=1 - self.right / width,
            bottom=BOTTOM / height,
            top=1 - self.top / height,
            hspace=GAP * n / (room - GAP * (n - 1)),
        )
        wide = max(_width_at_left(axes) for axes in fig.axes)
        fig.subplots_adjust(left=(wide + PAD) / width)


def _width_at_left(axes) -> float: ...
