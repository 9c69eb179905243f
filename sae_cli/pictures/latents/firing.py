"""How often each latent fires: the few that never do, and those that nearly always do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sae_cli.core.text import counted
from sae_cli.pictures.bars import legend_above, new_histogram, place_bars
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import FIRST, SECOND, Floats, Integers, Picture, whole_numbers
from sae_cli.pictures.view import View, some_inactive

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DENSE = 0.1  # of the examples: a latent that fires on more of them is called dense
BINS_PER_DECADE = 5
STEP = 10.0 ** (1.0 / BINS_PER_DECADE)


@register(Chapter.ACTIVITY)
def draw(view: View) -> Iterator[Picture]:
    """Draw the histogram where codes can be exactly 0 and some are."""
    if view.active_above == 0.0 and some_inactive(view):
        yield firing_histogram(*view.firing)


def firing_histogram(
    counts: Integers, n_examples: int, *, active_above: float = 0.0, dense_above: float = DENSE
) -> Picture:
    """Draw the shares of examples that activate each latent, on a log axis; dead ones beside it.

    Most latents of a good dictionary fire on few examples each. One that fires on more than
    ``dense_above`` of them is dense, and seldom stands for one thing.

    Args:
        counts: ``(n_latents,)``, how many examples activate each latent.
        n_examples: of how many.
        active_above: the magnitude above which a code was counted as active.

    Numbers: ``shares`` ``(n_latents,)``, ``counts`` and ``edges`` of the bins, ``n_examples``,
    ``active_above``, ``dense_above``, and the number of latents of either kind, ``dead`` and
    ``dense``.

    Raises:
        ValueError: no latent or no example, more than one dimension, or more than all examples.
    """
    title = f"How often latents fire ({counted(len(counts), 'latent')}, "
    figure, axes = new_histogram(title + f"{counted(n_examples, 'example')})")
    numbers = draw_firing(
        axes, counts, n_examples, active_above=active_above, dense_above=dense_above
    )
    legend_above(axes)
    place_bars(figure)
    return Picture("firing_histogram", figure, numbers)


def draw_firing(
    axes: Axes,
    counts: Integers,
    n_examples: int,
    *,
    active_above: float,
    dense_above: float = DENSE,
) -> dict[str, npt.NDArray[Any]]:
    """Put the histogram on the axes, and give its numbers; see :func:`firing_histogram`."""
    if counts.ndim != 1 or not len(counts) or not (0 <= counts.min() <= counts.max() <= n_examples):
        raise ValueError(
            f"counts have shape {counts.shape}; needed: (n_latents,), at least 1 latent, each "
            f"count from 0 to {n_examples}"
        )
    shares = counts / max(1, n_examples)
    edges = _edges(max(1, n_examples))
    in_bins, _ = np.histogram(shares[counts > 0], bins=edges)
    dead, dense = int((counts == 0).sum()), int((shares > dense_above).sum())
    axes.stairs(in_bins, edges, fill=True, color=FIRST, alpha=0.75)
    label = f"dense, over {dense_above:g}: {dense:,}"
    axes.axvspan(dense_above, 1.0, color="0.45", alpha=0.18, linewidth=0, zorder=0, label=label)
    # Nothing lies at 0 on a log axis, so dead latents have a bar of their own, left of the bins.
    left, right = edges[0] / STEP**2, edges[0] / STEP
    axes.stairs([dead], [left, right], fill=True, color=SECOND, label=f"dead, never: {dead:,}")
    axes.set_xscale("log")
    axes.set_xlim(edges[0] / STEP**3, 1.0)
    powers = 10.0 ** np.arange(np.ceil(np.log10(edges[0])), 1)
    axes.set_xticks([(left * right) ** 0.5, *powers], ["0", *(f"{power:g}" for power in powers)])
    axes.minorticks_off()
    axes.set_ylim(0, 1.06 * max(1, dead, in_bins.max()))
    whole_numbers(axes.yaxis)
    axes.set_xlabel(f"share of the validation set with a code {describe(active_above)}", fontsize=9)
    axes.set_ylabel("latents", fontsize=9)
    numbers = {
        **{"shares": shares, "counts": in_bins, "edges": edges, "n_examples": n_examples},
        **{"active_above": active_above, "dense_above": dense_above, "dead": dead, "dense": dense},
    }
    return {key: np.asarray(value) for key, value in numbers.items()}


def describe(active_above: float) -> str:
    """Say when a code is active, for an axis."""
    return f"above {active_above:g}" if active_above else "other than 0"


def _edges(n_examples: int) -> Floats:
    """Edges of bins from below the share of one example up to 1, equally wide on a log axis."""
    n_bins = 1 + math.floor(BINS_PER_DECADE * math.log10(n_examples))
    return 10.0 ** (np.arange(-n_bins, 1) / BINS_PER_DECADE)
