"""The scale of an axis of values over the epochs, which values before training do not flatten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sae_cli.pictures.picture import (
    DPI,
    GREY,
    NOTE_POINTS,
    SECOND,
    Floats,
    set_logarithmic,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG_FROM = 30  # ratio of largest to smallest value above which a scale is logarithmic
# The values before training are left out of an axis that they would make longer by this share of
# what the others take.
FLATTENS = 0.6
# The share of a panel's height that words at its edge take.
WORDS_HIGH = 0.13


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
    if logarithmic:
        set_logarithmic(axes)
    else:
        axes.yaxis.set_major_formatter("{x:g}")  # no offset or power of ten above the axis
    if beyond.size:
        _mark(axes, epoch, values, starts, beyond)


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


def _mark(
    axes: Axes,
    epoch: npt.NDArray[np.int64],
    values: Floats,
    starts: npt.NDArray[np.int64],
    beyond: Floats,
) -> None:
    """Mark the values before training that lie beyond the axis at its edge, and write them."""
    across = axes.get_xaxis_transform()
    for index, start in enumerate(starts):
        for value in values[:, start][np.isin(values[:, start], beyond)]:
            up = bool(value > axes.get_ylim()[1])
            axes.plot(
                *([epoch[start]], [1.0 if up else 0.0]),
                marker="^" if up else "v",
                color=SECOND,
                markersize=5,
                clip_on=False,
                transform=across,
            )
            words = f"{value:.3g}" + (" before training" if index == 0 else "")
            clear = _clear_place(axes, epoch, values, int(start), words, up)
            axes.annotate(
                words,
                (clear, 1.0 if up else 0.0),
                (9 if clear == epoch[start] else 3, -3 if up else 3),
                xycoords=across,
                textcoords="offset points",
                va="top" if up else "bottom",
                fontsize=NOTE_POINTS,
                color=GREY,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            )


def _clear_place(
    axes: Axes, epoch: npt.NDArray[np.int64], values: Floats, start: int, words: str, up: bool
) -> float:
    """Give the first epoch from which words at the edge cover no curve; that of the mark if none.

    A curve leaves the value before training through this very edge.
    """
    low, high = axes.get_ylim()
    scaled = values
    if axes.get_yscale() == "log":
        low, high = np.log(low), np.log(high)
        scaled = np.log(values, out=np.full_like(values, np.nan), where=values > 0)
    heights = (scaled - low) / (high - low)
    at_edge = np.any((heights if up else 1.0 - heights) > 1.0 - WORDS_HIGH, axis=0)
    inches = axes.bbox.width / DPI
    wide = np.ptp(epoch) * text_width(words, NOTE_POINTS) / inches
    for place in epoch[start:]:
        if place + wide > epoch[-1]:
            break
        if not at_edge[(epoch >= place) & (epoch <= place + wide)].any():
            return float(place)
    return float(epoch[start])
