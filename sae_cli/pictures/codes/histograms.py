"""Histograms of activity: over all codes, and latent by latent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sae_cli.pictures.bars import legend_above, new_histogram, place_bars
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import (
    FIRST,
    SECOND,
    Floats,
    Integers,
    Picture,
    set_logarithmic,
    whole_numbers,
)
from sae_cli.pictures.view import View, some_inactive

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_BINS, MOST_BINS = 11, 60  # the fewest is odd, so that there is a middle bin


@register(Chapter.ACTIVITY)
def draw(view: View) -> Iterator[Picture]:
    """Draw both histograms, of every run."""
    counts, edges = view.code_counts
    yield code_histogram(
        counts,
        edges,
        activation_name=view.activation_name,
        active_above=view.active_above if some_inactive(view) else None,
    )
    yield mean_histogram(view.means, target=view.target)


def code_histogram(
    counts: Integers,
    edges: Floats,
    *,
    activation_name: str,
    active_above: float | None,
) -> Picture:
    """Draw how often each code value occurs: ``counts`` ``(bins,)``, ``edges`` ``(bins + 1,)``.

    Codes come counted because those of a whole split may not fit in memory.

    Args:
        active_above: a vertical line marks this value, above which a code counts as active; None
            where every code does.

    Numbers: ``counts``, ``edges`` and, if given, ``active_above`` (a scalar).

    Raises:
        ValueError: the edges do not fit the counts.
    """
    if counts.ndim != 1 or not len(counts) or edges.shape != (len(counts) + 1,):
        raise ValueError(
            f"counts have shape {counts.shape} and edges {edges.shape}; needed: (bins,) and "
            f"(bins + 1,), at least 1 bin"
        )
    figure, axes = new_histogram(f"Code activations ({activation_name}): {counts.sum():,} codes")
    draw_codes(axes, counts, edges)
    numbers = {"counts": counts.copy(), "edges": edges.copy()}
    if active_above is not None:
        label = f"active above {active_above:g}"
        axes.axvline(active_above, color=SECOND, linestyle="--", linewidth=1.3, label=label)
        legend_above(axes)
        numbers["active_above"] = np.asarray(active_above, np.float64)
    place_bars(figure)
    return Picture("code_histogram", figure, numbers)


def draw_codes(axes: Axes, counts: Integers, edges: Floats) -> None:
    """Put the bars of ``counts`` ``(bins,)`` between ``edges`` ``(bins + 1,)`` on the axes."""
    axes.stairs(counts, edges, fill=True, color=FIRST, alpha=0.75)
    if counts.any():
        # The axis begins at half a code, so that a bin of one code still has a height.
        set_logarithmic(axes)
        axes.set_ylim(0.5, 2.0 * float(counts.max()))
    else:
        axes.set_ylim(0, 1)
        whole_numbers(axes.yaxis)
    axes.set_xlabel("code value", fontsize=9)
    axes.set_ylabel("codes (log scale)" if counts.any() else "codes", fontsize=9)


def mean_histogram(means: Floats, *, target: float | None = None) -> Picture:
    """Draw the distribution of the latents' mean activities, ``means`` ``(n_latents,)``.

    The overall mean is marked, and the target if there is one. Means that are not finite are left
    out, and the title says so.

    Numbers: ``means``, ``counts``, ``edges``, ``mean`` and, if given, ``target`` (scalars).

    Raises:
        ValueError: no latent, or more than one dimension.
    """
    if means.ndim != 1 or not len(means):
        raise ValueError(f"means have shape {means.shape}; needed: (n_latents,), at least 1 latent")
    finite = means[np.isfinite(means)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=_edges(finite))
    mean = finite.mean() if finite.size else np.float64(np.nan)
    left_out = f", {len(means) - finite.size} not finite" if finite.size < len(means) else ""
    noun = "latent" if len(means) == 1 else "latents"
    figure, axes = new_histogram(f"Mean activity of each latent ({len(means):,} {noun}{left_out})")
    axes.stairs(counts, edges, fill=True, color=FIRST, alpha=0.75)
    if finite.size:
        axes.axvline(mean, color="0.15", linewidth=1.3, label=f"mean of all latents {mean:.3g}")
    numbers = {"means": means.copy(), "counts": counts, "edges": edges, "mean": np.array(mean)}
    if target is not None:
        axes.axvline(
            target, color=SECOND, linestyle="--", linewidth=1.6, label=f"target {target:g}"
        )
        numbers["target"] = np.asarray(target, np.float64)
    axes.set_ylim(0, 1.06 * max(1, counts.max()))
    whole_numbers(axes.yaxis)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("mean code value over the validation set", fontsize=9)
    axes.set_ylabel("latents", fontsize=9)
    legend_above(axes)
    place_bars(figure)
    return Picture("mean_histogram", figure, numbers)


def _edges(values: Floats) -> Floats:
    """Bin edges over the range of the values, more of them for more values."""
    if not values.size:
        return np.linspace(0.0, 1.0, FEWEST_BINS + 1)
    low, high = float(values.min()), float(values.max())
    # A range of a few rounding errors cannot be divided into bins, and is one value to a reader.
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-6):
        middle = (low + high) / 2
        half = 0.1 * abs(middle) or 0.1
        # The value falls into the middle bin.
        return np.linspace(middle - half, middle + half, FEWEST_BINS + 1)
    bins = int(np.clip(2 * np.sqrt(values.size), FEWEST_BINS, MOST_BINS))
    return np.linspace(low, high, bins + 1)
