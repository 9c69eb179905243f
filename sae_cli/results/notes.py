"""Notes under tables of metrics: what a number counts, and why one is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

# Metrics that count codes above a threshold.
COUNTED = ("l0", "dead_latents")
UNDEFINED = "no value; fvu has none where all examples of a split are alike."

# A target of L0 is reached within this share of it.
NEAR = 0.05


def target_notes(target: float | None, trained: float, found: float) -> list[str]:
    """Say that training has not brought L0 to its target, if so, or only on the rows it saw.

    Args:
        target: ``penalty.target_l0``.
        trained: the L0 of the training split, which the weight is tuned by.
        found: the L0 of the validation split.
    """
    if target is None or abs(found / target - 1.0) <= NEAR:
        return []
    missed = (
        f"note: penalty.target_l0={target:g}: val/l0 is {found:.4g}, more than {NEAR:.0%} from it; "
    )
    if abs(trained / target - 1.0) <= NEAR:
        how = f"train/l0 is {trained:.4g}, so give more rows, or a smaller architecture.n_latents"
    else:
        how = (
            "train longer, begin with another penalty.weight, or choose a target that this model "
            "can have"
        )
    return [missed + how]


def is_counted(metric: str) -> bool:
    """Tell whether a metric, such as ``val/l0``, counts codes above a threshold."""
    return metric.rpartition("/")[2] in COUNTED


def has_value(value: Any) -> bool:
    """Tell whether a metric has a value; one that has none is null in JSON, NaN before."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def threshold_notes(thresholds: Iterable[tuple[str, float | None]]) -> list[str]:
    """Say above what a code counts as active, and by whom that is counted otherwise.

    Args:
        thresholds: name and threshold of each run of a table; None where it is not known.
    """
    names: dict[float, list[str]] = {}
    for name, threshold in dict.fromkeys(thresholds):
        if threshold is not None:
            names.setdefault(threshold, []).append(name)
    if not names:
        return []
    start = f"For {' and '.join(COUNTED)}, a code is active when its magnitude exceeds"
    if len(names) == 1:
        return [f"{start} {next(iter(names)):g}."]
    groups = (f"{threshold:g} ({', '.join(names[threshold])})" for threshold in sorted(names))
    return [f"{start} {', '.join(groups)}: do not compare these with each other."]


def undefined_notes(metrics: Iterable[tuple[str, Any]], sign: str) -> list[str]:
    """Say which metrics of a table have no value.

    Args:
        metrics: name and value.
        sign: what stands in the table in place of a value.
    """
    names = dict.fromkeys(name for name, value in metrics if not has_value(value))
    return [f"{', '.join(names)}: {sign} is {UNDEFINED}"] if names else []
