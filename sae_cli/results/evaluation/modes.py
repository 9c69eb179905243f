"""Modes: whether numbers form one cluster or two, by normal distributions fitted to them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# EM finds the nearest optimum, so that it starts from a cut of the sorted numbers at each of these.
CUTS = np.arange(1, 10) / 10
MOST_ITERATIONS, SMALLEST_GAIN = 1000, 1e-8
# A variance keeps this share of that of all numbers, because a single number would have none.
LEAST_VARIANCE = 1e-4
GRID = 2001


class Mixture(NamedTuple):
    """Normal distributions, one an entry: their shares, means and variances, each ``(k,)``."""

    shares: Floats
    means: Floats
    variances: Floats

    def densities(self, x: Floats) -> Floats:
        """Give the density of each at ``x`` ``(n,)``, times its share: ``(n, k)``."""
        away = (x[:, None] - self.means) ** 2 / self.variances
        found: Floats = self.shares * np.exp(-0.5 * away) / np.sqrt(2 * np.pi * self.variances)
        return found

    def log_likelihood(self, x: Floats) -> float:
        """Give that of ``x`` ``(n,)``, in nats."""
        # A number far from all has a density of 0 in floating point.
        return float(np.log(self.densities(x).sum(1).clip(np.finfo(float).tiny)).sum())

    def bic(self, x: Floats) -> float:
        """Give Schwarz's criterion for ``x`` ``(n,)``; the lower, the better (Schwarz 1978)."""
        n_free = 3 * len(self.means) - 1
        return float(n_free * np.log(len(x)) - 2.0 * self.log_likelihood(x))

    def n_modes(self) -> int:
        """Count the maxima of the density of all together."""
        reach = 3 * np.sqrt(self.variances.max())
        grid = np.linspace(self.means.min() - reach, self.means.max() + reach, GRID)
        density = self.densities(grid).sum(1)
        return int(((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])).sum())


def one_normal(x: Floats) -> Mixture:
    """Fit one normal distribution to ``x`` ``(n,)``."""
    return Mixture(np.ones(1), np.array([x.mean()]), np.array([x.var()]))


def two_normals(x: Floats) -> Mixture:
    """Fit two normal distributions to ``x`` ``(n,)`` by EM, the likeliest of several starts
    (Dempster, Laird and Rubin 1977)."""
    ordered = np.sort(x)
    places = [min(max(1, round(cut * len(x))), len(x) - 1) for cut in CUTS]
    fits = [_improved(_cut(ordered, place), x) for place in dict.fromkeys(places)]
    return max(fits, key=lambda fit: fit.log_likelihood(x))


def _cut(ordered: Floats, place: int) -> Mixture:
    halves = ordered[:place], ordered[place:]
    least = LEAST_VARIANCE * ordered.var()
    return Mixture(
        np.array([len(half) / len(ordered) for half in halves]),
        np.array([half.mean() for half in halves]),
        np.array([max(half.var(), least) for half in halves]),
    )


def _improved(mixture: Mixture, x: Floats) -> Mixture:
    before, least = -np.inf, LEAST_VARIANCE * x.var()
    for _ in range(MOST_ITERATIONS):
        likelihood = mixture.log_likelihood(x)
        if likelihood - before < SMALLEST_GAIN:
            break
        before = likelihood
        densities = mixture.densities(x).clip(np.finfo(float).tiny)
        belongs = densities / densities.sum(1, keepdims=True)
        n = belongs.sum(0)
        means = belongs.T @ x / n
        variances = (belongs * (x[:, None] - means) ** 2).sum(0) / n
        mixture = Mixture(n / len(x), means, np.maximum(variances, least))
    return mixture


def modes_of_angles(angles: Floats) -> dict[str, Any]:
    """Give ``angle_bic_one`` and ``angle_bic_two``, Schwarz's criterion of one normal distribution
    and of two, and ``angle_modes``, the maxima of the density of whichever is better.

    Args:
        angles: ``(n,)``, finite. Fewer than three, or all alike, give nothing.
    """
    if len(angles) < 3 or np.ptp(angles) == 0.0:
        return {}
    one, two = one_normal(angles), two_normals(angles)
    better = two if two.bic(angles) < one.bic(angles) else one
    return {
        "angle_bic_one": one.bic(angles),
        "angle_bic_two": two.bic(angles),
        "angle_modes": better.n_modes(),
    }
