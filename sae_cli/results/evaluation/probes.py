"""Probes: how well classes are told from codes, by a linear classifier and by neighbours."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sae_cli.core.errors import ConfigError
from sae_cli.datasets import Split
from sae_cli.results.evaluation.subject import Subject

# So many examples, and values of codes, are enough to tell models apart.
MOST_ROWS, MOST_VALUES = 5000, 1 << 25
NEIGHBOURS = 5
MOST_STEPS = 500

Floats = NDArray[np.float32]
Classes = NDArray[np.int64]


class Labelled(NamedTuple):
    """Features ``(n, d)`` and their classes ``(n,)``."""

    x: Floats
    y: Classes


class Probed(NamedTuple):
    """Shares of examples that are told right.

    Attributes:
        converged: whether the linear classifier was trained to its end.
    """

    linear: float
    neighbours: float
    converged: bool


def labelled_codes(subject: Subject, split: Split) -> Labelled | None:
    """Give codes of labelled examples, evenly spaced where there are many; None without labels."""
    if split.labels is None:
        return None
    split = split.labelled()
    n = min(len(split), MOST_ROWS, max(1, MOST_VALUES // subject.run.n_latents))
    if n == 0:
        return None
    rows = split.rows[torch.arange(n) * len(split) // n]
    some = Split(split.stored, rows, split.labels, split.inputs)
    assert some.labels is not None
    return Labelled(subject.codes(some).numpy(), some.labels[rows].numpy())


def probe(train: Labelled, test: Labelled) -> Probed:
    """Train classifiers on the one and count right answers on the other.

    They are scikit-learn's ``LogisticRegression`` on standardised features, and
    ``KNeighborsClassifier`` with 5 neighbours.

    Raises:
        ConfigError: scikit-learn is not installed, or there is only one class to learn.
    """
    pipeline, scale, logistic, neighbours = _sklearn()
    if len(np.unique(train.y)) < 2:
        raise ConfigError(
            "the training examples are all of one class, and nothing tells them apart"
        )
    linear = pipeline(scale(), logistic(max_iter=MOST_STEPS))
    with warnings.catch_warnings():
        # Whether it converged is told below.
        warnings.simplefilter("ignore")
        linear.fit(train.x, train.y)
    steps = int(np.max(linear[-1].n_iter_))
    nearest = neighbours(min(NEIGHBOURS, len(train.y))).fit(train.x, train.y)
    return Probed(
        float(np.mean(linear.predict(test.x) == test.y)),
        float(np.mean(nearest.predict(test.x) == test.y)),
        steps < MOST_STEPS,
    )


def _sklearn() -> tuple[Any, Any, Any, Any]:
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise ConfigError(
            "linear_probe and neighbours need scikit-learn: pip install 'sae-train[evaluation]'"
        ) from None
    return make_pipeline, StandardScaler, LogisticRegression, KNeighborsClassifier
