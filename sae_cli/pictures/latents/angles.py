"""The angle between a latent's encoder row, which activates it, and its decoder column."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sae_cli.core.text import counted
from sae_cli.pictures.bars import legend_above, new_histogram, place_bars
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import (
    FIRST,
    SECOND,
    Floats,
    Picture,
    whole_numbers,
)
from sae_cli.pictures.view import View

BIN = np.pi / 120  # radians: 0.026


@register(Chapter.LATENTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw the angles where a classifier of the codes was trained along."""
    rows, columns = view.filters, view.dictionary
    if not view.has_head or rows is None or columns is None or rows.shape != columns.shape:
        return
    angles = part_angles(torch.from_numpy(rows), torch.from_numpy(columns).t())
    # A dead latent is one that no example activates.
    yield angle_histogram(angles.numpy(), dead=view.firing[0] == 0)


def angle_histogram(
    angles: Floats,
    *,
    dead: npt.NDArray[np.bool_] | None = None,
    parts_below: float = 0.5,
    categories_above: float = 0.7,
) -> Picture:
    """Draw the distribution of the angles between a latent's encoder row and decoder column.

    Rolfe & LeCun, "Discriminative Recurrent Sparse Auto-Encoders" (2013): where the two
    agree, a latent is a part of an image; where they do not, it stands for a category.

    Args:
        angles: ``(n_latents,)``, radians. Angles that are not finite are left out, and the title
            says so.
        dead: ``(n_latents,)``, the latents that no example activates. They keep their initial
            angle, often that of a part, so they are left out, too.
        parts_below: the angle below which a latent counts as a part.
        categories_above: the angle above which it counts as categorical.

    Numbers: ``angles`` (NaN for dead latents), ``counts``, ``edges``, ``parts_below``,
    ``categories_above``, and the number of latents of either kind, ``parts`` and ``categories``.

    Raises:
        ValueError: no angle, more than one dimension, or ``dead`` has another shape.
    """
    if angles.ndim != 1 or not len(angles):
        raise ValueError(f"angles have shape {angles.shape}; needed: (n_latents,), at least 1")
    of_all = counted(len(angles), "latent")
    if dead is not None:
        if dead.shape != angles.shape:
            raise ValueError(f"dead has shape {dead.shape}; needed: {angles.shape}")
        angles = np.where(dead, np.nan, angles)
        of_all += f", {int(dead.sum()):,} dead" if dead.any() else ""
    odd = int((~np.isfinite(angles)).sum()) - (0 if dead is None else int(dead.sum()))
    of_all += f", {odd:,} not finite" if odd else ""
    finite = angles[np.isfinite(angles)].astype(np.float64)
    # The axis ends at a right angle unless a row and its column oppose each other, as few do.
    top = np.pi if (finite > np.pi / 2).any() else np.pi / 2
    counts, edges = np.histogram(finite, bins=round(top / BIN), range=(0.0, top))
    parts, categories = int((finite < parts_below).sum()), int((finite > categories_above).sum())
    figure, axes = new_histogram(f"Angle between encoder row and decoder column ({of_all})")
    axes.stairs(counts, edges, fill=True, color="0.45")
    for start, stop, colour, label in (
        (0.0, parts_below, FIRST, f"parts, below {parts_below:g}: {parts:,}"),
        (categories_above, top, SECOND, f"categorical, above {categories_above:g}: {categories:,}"),
    ):
        axes.axvspan(start, stop, color=colour, alpha=0.22, linewidth=0, zorder=0, label=label)
    axes.set_xlim(0, top)
    axes.set_ylim(0, 1.06 * max(1, counts.max()))
    whole_numbers(axes.yaxis)
    axes.set_xlabel("angle (radians)", fontsize=9)
    axes.set_ylabel("latents", fontsize=9)
    legend_above(axes)
    place_bars(figure)
    numbers = {
        **{"angles": angles.copy(), "counts": counts, "edges": edges},
        **{"parts_below": np.float64(parts_below), "parts": np.int64(parts)},
        **{"categories_above": np.float64(categories_above), "categories": np.int64(categories)},
    }
    return Picture(
        "angle_histogram", figure, {key: np.asarray(one) for key, one in numbers.items()}
    )


def part_angles(rows: Tensor, columns: Tensor) -> Tensor:
    """The angle between each encoder row and its decoder column: ``(n_latents,)``, in radians.

    In a discriminative recurrent network small angles (below about 0.5) belong to parts of the
    input and large ones (above about 0.7) to categories (Rolfe and LeCun 2013).

    Args:
        rows: ``(n_latents, n_features)``.
        columns: ``(n_features, n_latents)``.
    """
    cosines = (F.normalize(rows, dim=1) * F.normalize(columns, dim=0).t()).sum(1)
    return cosines.clamp(-1.0, 1.0).arccos()
