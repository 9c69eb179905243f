"""Modes: whether numbers form one cluster or two, by normal distributions fitted to them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError

Floats = NDArray[np.float64]

# A fit ends in the nearest optimum, so that the likeliest of several is taken; one that is
# not at its end can show two maxima in place of one.
N_STARTS, MOST_STEPS, SMALLEST_GAIN = 10, 2000, 1e-8
# Numbers are given a standard deviation of 1 before; a variance is no less than this.
LEAST_VARIANCE = 1e-4
# Where the density is looked at: so many places, up to so many standard deviations away.
N_PLACES, REACH = 2001, 5.0


def modes_of_angles(angles: Floats) -> dict[str, Any]:
    """Give ``angle_bic_one`` and ``angle_bic_two``, Schwarz's criterion of one normal distribution
    and of two, and ``angle_modes``, the maxima of the density of whichever is better.

    The distributions are scikit-learn's ``GaussianMixture``.

    Args:
        angles: ``(n,)``, finite. Fewer than three, or all alike, give nothing.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    if len(angles) < 3 or np.ptp(angles) == 0.0:
        return {}
    mixture, scale = _mixture(), float(angles.std())
    x = (angles / scale)[:, None]
    options = {"n_init": N_STARTS, "max_iter": MOST_STEPS, "tol": SMALLEST_GAIN}
    options |= {"reg_covar": LEAST_VARIANCE, "random_state": 0}
    with warnings.catch_warnings():
        # Numbers that repeat make fewer clusters than there are distributions.
        warnings.simplefilter("ignore")
        one, two = (mixture(k, **options).fit(x) for k in (1, 2))
    # A density per standard deviation is this much higher than one per unit of the angles.
    of_units = 2.0 * len(x) * np.log(scale)
    bic_one, bic_two = float(one.bic(x) + of_units), float(two.bic(x) + of_units)
    better = two if bic_two < bic_one else one
    return {
        "angle_bic_one": bic_one,
        "angle_bic_two": bic_two,
        "angle_modes": _count_maxima(better, x),
    }


def _count_maxima(fitted: Any, x: Floats) -> int:
    places = np.linspace(x.min() - REACH, x.max() + REACH, N_PLACES)[:, None]
    density = fitted.score_samples(places)
    return int(((density[1:-1] > density[:-2]) & (density[1:-1] >= density[2:])).sum())


def _mixture() -> Any:
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise ConfigError(
            "angle_modes needs scikit-learn: pip install 'sae-train[evaluation]'"
        ) from None
    return GaussianMixture
