"""How alike the atoms of a dictionary are: the largest cosine of each with another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae_cli.core.text import counted
from sae_cli.pictures.bars import legend_above, new_histogram, place_bars
from sae_cli.pictures.chapters import Chapter, register
from sae_cli.pictures.picture import FIRST, SECOND, Floats, Picture, whole_numbers
from sae_cli.pictures.view import View

# More atoms than these would take minutes to compare with all others.
MOST_COMPARED = 4096
ROWS = 256  # atoms at a time
N_BINS = 50


@register(Chapter.LATENTS)
def draw(view: View) -> Iterator[Picture]:
    """Draw the histogram where the decoder is linear and was trained."""
    atoms = view.dictionary
    if atoms is not None and view.decoder_trained and len(atoms) > 1:
        yield cosine_histogram(largest_cosines(atoms, MOST_COMPARED), n_atoms=len(atoms))


def largest_cosines(atoms: Floats, most: int) -> Floats:
    """Find the largest cosine of an atom with any other, float64 ``(at most most,)``.

    Args:
        atoms: ``(n_latents, n_features)``; one without a direction, all 0, has the cosine NaN, and
            is compared with no other.
        most: of more atoms, so many are compared with all, evenly spaced.
    """
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    directed = np.isfinite(norms[:, 0]) & (norms[:, 0] > 0.0)
    units = np.divide(atoms, norms, out=np.zeros_like(atoms), where=directed[:, None])
    n = min(most, len(atoms))
    chosen = np.arange(n) * len(atoms) // n
    found = np.full(n, np.nan)
    for start in range(0, n, ROWS):
        rows = chosen[start : start + ROWS]
        cosines = units[rows] @ units.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        cosines[:, ~directed] = -np.inf
        found[start : start + ROWS] = np.clip(cosines.max(1), -np.inf, 1.0)
    found[~directed[chosen] | ~np.isfinite(found)] = np.nan
    return found


def cosine_histogram(cosines: Floats, *, n_atoms: int, alike_above: float = 0.9) -> Picture:
    """Draw the distribution of the largest cosine of each atom with another.

    Atoms above ``alike_above`` are nearly copies of another, so that a dictionary has fewer atoms
    than it seems to. Cosines that are not finite are left out, and the title says so.

    Args:
        cosines: ``(n_compared,)``.
        n_atoms: of the dictionary, which may be more.

    Numbers: ``cosines``, ``counts``, ``edges``, ``alike_above``, and ``alike``, the number of
    atoms above that.

    Raises:
        ValueError: no cosine, or more than one dimension.
    """
    if cosines.ndim != 1 or not len(cosines):
        raise ValueError(f"cosines have shape {cosines.shape}; needed: (n_compared,), at least 1")
    finite = cosines[np.isfinite(cosines)]
    low = min(0.0, float(np.floor(10.0 * finite.min()) / 10.0)) if finite.size else 0.0
    counts, edges = np.histogram(finite, bins=N_BINS, range=(low, 1.0))
    alike = int((finite > alike_above).sum())
    title = counted(n_atoms, "atom")
    title += f", {len(cosines):,} compared" if len(cosines) < n_atoms else ""
    odd = len(cosines) - finite.size
    title += f", {odd:,} left out" if odd else ""
    figure, axes = new_histogram(f"Nearest atoms ({title})")
    axes.stairs(counts, edges, fill=True, color=FIRST, alpha=0.75)
    label = f"nearly copies, above {alike_above:g}: {alike:,}"
    axes.axvspan(alike_above, 1.0, color=SECOND, alpha=0.22, linewidth=0, zorder=0, label=label)
    axes.set_xlim(low, 1.0)
    axes.set_ylim(0, 1.06 * max(1, counts.max()))
    whole_numbers(axes.yaxis)
    axes.set_xlabel("largest cosine of an atom with another", fontsize=9)
    axes.set_ylabel("atoms", fontsize=9)
    legend_above(axes)
    numbers = {
        **{"cosines": cosines.copy(), "counts": counts, "edges": edges},
        **{"alike_above": alike_above, "alike": alike},
    }
    place_bars(figure)
    return Picture("cosine_histogram", figure, {k: np.asarray(v) for k, v in numbers.items()})
