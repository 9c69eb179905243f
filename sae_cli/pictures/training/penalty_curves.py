"""Curves of the penalties with a target, over a latent's mean activity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.column import place_column
from sae_cli.pictures.picture import (
    FIRST,
    SECOND,
    TEXT_POINTS,
    Floats,
    Picture,
    heading,
    new_figure,
    plain_axes,
)
from sae_cli.pictures.view import View

HIGHEST = 1.0  # KL has no bound; the others stay below this
CURVES: dict[str, dict[str, Any]] = {
    "kl": {"color": FIRST, "linewidth": 2.0, "label": "KL(p || q)"},
    "absolute": {"color": SECOND, "linewidth": 1.4, "linestyle": "--", "label": "|q - p|"},
    "squared": {"color": "#117733", "linewidth": 1.4, "linestyle": "-.", "label": "(q - p)²"},
}


@register(Chapter.PENALTY)
def draw(view: View) -> Iterator[Picture]:
    """Draw the curves where the penalty has a target."""
    if view.target is not None:
        yield penalty_curves(view.target)


def penalty_curves(target: float) -> Picture:
    """Draw three distances of a mean activity q to the target p over q, with p marked.

    KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), in nats, is the steepest and grows
    without bound towards 0 and 1; |q - p| and (q - p)² stay bounded.

    Numbers: ``q``, ``kl``, ``absolute``, ``squared`` ``(999,)`` and ``target`` (a scalar).

    Raises:
        ValueError: the target does not lie strictly between 0 and 1.
    """
    if not 0 < target < 1:
        raise ValueError(f"target={target}; needed: strictly between 0 and 1")
    q = np.arange(1, 1000) / 1000
    numbers: dict[str, Floats] = {
        "q": q,
        "kl": target * np.log(target / q) + (1 - target) * np.log((1 - target) / (1 - q)),
        "absolute": np.abs(q - target),
        "squared": (q - target) ** 2,
        "target": np.asarray(target, np.float64),
    }
    figure = new_figure(6.4, 3.8, constrained=False)
    heading(figure, f"Distance of a mean activity q to the target p = {target:g}")
    axes = figure.subplots()
    plain_axes(axes, grid=True)
    for name, style in CURVES.items():
        axes.plot(q, numbers[name], **style)
    axes.axvline(target, color="0.35", linestyle=":", linewidth=1.2, label=f"target {target:g}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, HIGHEST)
    axes.set_xlabel("mean activity q", fontsize=9)
    axes.set_ylabel("distance, before its weight", fontsize=9)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=4,
        frameon=False,
        fontsize=TEXT_POINTS,
    )
    place_column(figure, above=0.58)
    return Picture("penalty_curves", figure, numbers)
