"""Codes of any width as points: their first two principal components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.codes.code_scatter import scatter
from sae_cli.pictures.picture import Floats, Integers, Picture
from sae_cli.pictures.view import View

# More codes than these cost time, and cover each other.
MOST_CODES = 1000


@register(Chapter.CODES)
def draw(view: View) -> Iterator[Picture]:
    """Draw the components where there are more than two latents."""
    codes = view.codes[:MOST_CODES]
    if view.n_latents <= 2 or len(codes) < 3 or not np.isfinite(codes).all():
        return
    found = principal_components(codes)
    if found.shares.any():
        labels = None if view.labels is None else view.labels[:MOST_CODES]
        yield code_components(found, labels, view.class_names)


class Components(NamedTuple):
    """The first two principal components of codes.

    Attributes:
        points: ``(n, 2)``, the components of each code.
        shares: ``(2,)``, the share of the variance of all codes that each has.
    """

    points: Floats
    shares: Floats


def principal_components(codes: Floats) -> Components:
    """Find the directions of the largest variance of codes ``(n, n_latents)``.

    They are eigenvectors of the smaller of the two products of the centred codes with themselves,
    ``(n, n)`` or ``(n_latents, n_latents)``. Of the two signs of a component, the one is taken
    that makes its largest entry positive.
    """
    centred = codes.astype(np.float64) - codes.mean(0, dtype=np.float64)
    if len(centred) < centred.shape[1]:
        variances, vectors = np.linalg.eigh(centred @ centred.T)
        points = vectors[:, -2:] * np.sqrt(np.maximum(variances[-2:], 0.0))
    else:
        variances, vectors = np.linalg.eigh(centred.T @ centred)
        points = centred @ vectors[:, -2:]
    # eigh gives the largest last.
    points, largest = points[:, ::-1], np.maximum(variances[:-3:-1], 0.0)
    extreme = points[np.abs(points).argmax(0), [0, 1]]
    points = points * np.where(extreme < 0, -1.0, 1.0)
    total = float(np.square(centred).sum())
    return Components(points, largest / total if total else np.zeros(2))


def code_components(
    found: Components,
    labels: Integers | None = None,
    class_names: Sequence[str] | None = None,
) -> Picture:
    """Draw the components as points, in the colours of ``labels`` ``(n,)``.

    Numbers: ``points``, ``shares`` and, if given, ``labels``.

    Raises:
        ValueError: as ``code_scatter``.
    """
    figure = scatter(
        found.points,
        labels,
        title=f"Principal components of the codes of {counted(len(found.points), 'example')}",
        axis_names=[
            f"component {number} ({share:.1%} of the variance)"
            for number, share in enumerate(found.shares, 1)
        ],
        class_names=class_names,
    )
    numbers: dict[str, npt.NDArray[Any]] = {
        "points": np.array(found.points),
        "shares": np.array(found.shares),
    }
    return Picture(
        "code_components", figure, numbers | ({} if labels is None else {"labels": labels.copy()})
    )
