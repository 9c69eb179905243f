"""Codes of any width as points that keep neighbours together: t-SNE and UMAP, on demand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import counted
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.codes.code_scatter import scatter
from sae_cli.pictures.codes.principal import MOST_CODES
from sae_cli.pictures.picture import Floats, Integers, Picture
from sae_cli.pictures.view import View

# Of fewer codes, neighbours say nothing.
FEWEST_CODES = 10
NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
# The module and the package of each.
PACKAGES = {"tsne": ("sklearn", "scikit-learn"), "umap": ("umap", "umap-learn")}
# The usual choices of both methods.
PERPLEXITY, NEIGHBOURS = 30.0, 15


@register(Chapter.CODES)
def draw(view: View) -> Iterator[Picture]:
    """Draw the projection that was asked for, where there are more than two latents."""
    name, codes = view.projection, view.codes[:MOST_CODES]
    if name not in NAMES or view.n_latents <= 2 or find_spec(PACKAGES[name][0]) is None:
        return
    if len(codes) >= FEWEST_CODES and np.isfinite(codes).all() and np.ptp(codes):
        labels = None if view.labels is None else view.labels[:MOST_CODES]
        points = project(codes, name, view.seed)
        yield code_projection(points, labels, name=name, class_names=view.class_names)


def check_projection(name: str) -> None:
    """Raise ConfigError if the package of a projection is not installed."""
    if name in PACKAGES and find_spec(PACKAGES[name][0]) is None:
        raise ConfigError(
            f"projection={name} needs {PACKAGES[name][1]}; run "
            "`pip install 'sae-train[projection]'`, or give projection=pca"
        )


def project(codes: Floats, name: str, seed: int) -> Floats:
    """Place codes ``(n, n_latents)`` on a plane, close ones beside each other: ``(n, 2)``.

    t-SNE (van der Maaten and Hinton 2008) as scikit-learn has it, or UMAP (McInnes et al. 2018) as
    umap-learn has it; the same seed gives the same points. Distances between far points, and the
    sizes of groups, mean nothing.
    """
    # A part of scikit-learn, which umap-learn needs as well.
    from threadpoolctl import threadpool_limits

    method: Any
    if name == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
        method = TSNE(perplexity=perplexity, random_state=seed, n_jobs=1)
    else:
        from umap import UMAP

        method = UMAP(n_neighbors=min(NEIGHBOURS, len(codes) - 1), random_state=seed, n_jobs=1)
    # Threads wait for each other many times a second, which takes minutes on a busy machine; with
    # so few codes one alone is as fast.
    with warnings.catch_warnings(), threadpool_limits(1):
        # They warn of what cannot be changed here.
        warnings.simplefilter("ignore")
        return np.asarray(method.fit_transform(codes))


def code_projection(
    points: Floats,
    labels: Integers | None = None,
    *,
    name: str,
    class_names: Sequence[str] | None = None,
) -> Picture:
    """Draw projected codes ``(n, 2)`` in the colours of ``labels`` ``(n,)``.

    Args:
        name: of the projection.

    Numbers: ``points`` and, if given, ``labels``.

    Raises:
        ValueError: as ``code_scatter``.
    """
    shown = NAMES[name]
    figure = scatter(
        points,
        labels,
        title=f"{shown} of the codes of {counted(len(points), 'example')}",
        axis_names=[f"{shown} {number}" for number in (1, 2)],
        class_names=class_names,
    )
    numbers: dict[str, npt.NDArray[Any]] = {"points": points.copy()}
    return Picture(
        f"code_{name}", figure, numbers | ({} if labels is None else {"labels": labels.copy()})
    )
