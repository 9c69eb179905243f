"""The scale of an axis of values over the epochs, which values before training do not flatten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.picture import GREY, NOTE_POINTS, SECOND, Floats, set_logarithmic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_FROM = 30  # ratio of largest to smallest value above which a scale is logarithmic
# The values before training are left out of an axis that they would make longer by this share of
# what the others take.
FLATTENS = 0.6


def choose_scale(
    axes: Axes,
    epoch: npt.NDArray[np.int64],
    values: Floats,
    starts: npt.NDArray[np.int64],
    target: float | None,
) -> None:
    """Choose the scale and the limits of an axis for ``values`` ``(parts, n_lines)``.

    Args:
        starts: the line of each stage that was written before its training.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", color=GREY)
        axes.set_yticks([])
        return
    later = np.delete(values, starts, axis=1)
    later = later[np.isfinite(later)]
    # After a single epoch there is no curve yet that could be flattened.
    is_curve = len(epoch) - len(starts) > 1 and np.unique(later).size > 1
    shown = later if is_curve else finite
    if target is not None:
        finite, shown = np.append(finite, target), np.append(shown, target)
    logarithmic = _is_wide(finite)
    beyond = _beyond(finite, shown, logarithmic)
    if beyond.size:
        logarithmic = _is_wide(shown)
        _cut(axes, shown, logarithmic)
        _mark(axes, epoch[starts], values[:, starts], beyond)
    if logarithmic:
        set_logarithmic(axes)
    else:
        axes.yaxis.set_major_formatter("{x:g}")  # no offset or power of ten above the axis


def _is_wide(values: Floats) -> bool:
    """Whether values are best seen on a logarithmic scale."""
    return bool(values.min() > 0 and values.max() > LOG_FROM * values.min())


def _beyond(finite: Floats, shown: Floats, logarithmic: bool) -> Floats:
    """Give the values that would make the axis of those shown much longer."""
    scaled, within = (np.log(finite), np.log(shown)) if logarithmic else (finite, shown)
    room = FLATTENS * np.ptp(within)
    return np.asarray(finite[(scaled > within.max() + room) | (scaled < within.min() - room)])


def _cut(axes: Axes, shown: Floats, logarithmic: bool) -> None:
    """Set the limits of an axis to the values shown, and some room for marks."""
    low, high = shown.min(), shown.max()
    if logarithmic:
        room = (high / low) ** 0.12
        axes.set_ylim(low / room, high * room)
    else:
        room = 0.12 * (high - low)
        axes.set_ylim(low - room, high + room)


def _mark(axes: Axes, epochs: npt.NDArray[np.int64], values: Floats, beyond: Floats) -> None:
    """Mark values ``(parts, n_stages)`` that lie beyond the axis at its edge, and write them."""
    across = axes.get_xaxis_transform()
    for index, epoch in enumerate(epochs):
        for value in values[:, index][np.isin(values[:, index], beyond)]:
            up = value > axes.get_ylim()[1]
            axes.plot(
                *([epoch], [1.0 if up else 0.0]),
                marker="^" if up else "v",
                color=SECOND,
                markersize=5,
                clip_on=False,
                transform=across,
            )
            axes.annotate(
                f"{value:.3g}" + (" before training" if index == 0 else ""),
                (epoch, 1.0 if up else 0.0),
                (9, -3 if up else 3),
                xycoords=across,
                textcoords="offset points",
                va="top" if up else "bottom",
                fontsize=NOTE_POINTS,
                color=GREY,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            )
