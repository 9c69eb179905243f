"""The centre and the scale of the training examples, which are taken from all examples.

Sums are NumPy's, on one thread, so that their bits depend on the data alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import Interval
from sae_cli.datasets.dataset import Dataset, Split

Centre = Literal[False, "mean", "geometric_median"]
"""What is subtracted from every example: nothing, or the mean or median of those that train."""

Scale = Literal["none", "rms", "unit_norm"]
"""What every example is divided by: nothing, one number for all, or its own norm."""

# A median of so many examples is as good as that of all, and takes seconds.
MEDIAN_ROWS, MEDIAN_ELEMENTS = 10_000, 1 << 24
MEDIAN_STEPS, MEDIAN_TOLERANCE = 200, 1e-10

Floats = NDArray[np.float64]


def centre_and_scale(data: Dataset, centre: Centre, scale: Scale) -> Dataset:
    """Give a copy whose examples are centred, and scaled by one number.

    ``scale=unit_norm`` is left to whoever builds the run, as the setting of that name is.

    Raises:
        ConfigError: all training examples are alike, or centred values are too large for float32.
    """
    if centre is False and scale != "rms":
        return data
    inputs, about = data.train.inputs, [data.source]
    if centre is not False:
        inputs = replace(inputs, centre=centre_of(data.train, centre).to(torch.float32))
        data = data.with_inputs(inputs)
        about.append(f"centred by the {centre.replace('_', ' ')}")
    if scale == "rms":
        inputs = replace(inputs, scale=_rms(data.train, centre))
        data = data.with_inputs(inputs)
        about.append(f"divided by {inputs.scale:.4g}")
    return replace(data, interval=_interval(data), source="; ".join(about))


def centre_of(split: Split, centre: Centre) -> Tensor:
    """Give the centre of a split, float64 ``(*input_shape)``."""
    if centre == "mean":
        flat = torch.from_numpy(sum(rows.sum(0) for rows in _rows(split)) / len(split))
    else:
        n_features = math.prod(split.input_shape)
        n = min(len(split), MEDIAN_ROWS, max(1, MEDIAN_ELEMENTS // n_features))
        # Evenly spaced examples stand for all, whatever the order of the file means.
        taken = split.rows[torch.arange(n) * len(split) // n]
        flat = geometric_median(split.values(taken).flatten(1))
    return flat.reshape(split.input_shape)


def geometric_median(rows: Tensor) -> Tensor:
    """Find the point with the least sum of distances to ``rows`` ``(n, d)``: float64 ``(d,)``.

    Weiszfeld's iteration from the mean, as Vardi and Zhang (2000) let it pass through the points
    themselves. A few far points move it little, other than the mean.
    """
    points: Floats = rows.detach().cpu().to(torch.float64).numpy()
    median: Floats = points.mean(0)
    for _ in range(MEDIAN_STEPS):
        offsets = points - median
        # No product of matrices, because its last bits depend on the number of threads.
        distances = np.sqrt(np.einsum("ij,ij->i", offsets, offsets))
        apart = distances > 0.0
        if not apart.any():
            break
        weights = np.divide(1.0, distances, out=np.zeros_like(distances), where=apart)
        pull: Floats = np.einsum("i,ij->j", weights, offsets)
        strength, n_here = float(np.linalg.norm(pull)), len(points) - int(apart.sum())
        if strength <= n_here:
            break
        step = pull * ((1.0 - n_here / strength) / weights.sum())
        median = median + step
        if np.linalg.norm(step) <= MEDIAN_TOLERANCE * distances.mean():
            break
    return torch.from_numpy(median)


def _rms(split: Split, centre: Centre) -> float:
    """Give the root mean square of the values of a split."""
    total = sum(float(np.square(rows).sum()) for rows in _rows(split))
    rms = math.sqrt(total / (len(split) * math.prod(split.input_shape)))
    if rms < torch.finfo(torch.float32).tiny:
        how = f"all the same, so that dataset.centre={centre} leaves" if centre else "all"
        raise ConfigError(
            f"dataset.scale=rms: the {len(split)} training examples are {how} 0, which nothing can "
            "scale; choose dataset.scale=none, or give examples that differ"
        )
    return rms


def _rows(split: Split) -> Iterator[Floats]:
    """Yield chunks of a split, float64 ``(batch, n_features)``."""
    for values in split.chunks():
        yield values.flatten(1).to(torch.float64).numpy()


def _interval(data: Dataset) -> Interval:
    """Find the range of the values that a model sees, of all splits.

    Raises:
        ConfigError: a value is too large for float32.
    """
    low, high = math.inf, -math.inf
    for split in (data.train, data.val, data.test):
        for values in split.chunks():
            ends: Any = values.aminmax()
            low, high = min(low, float(ends.min)), max(high, float(ends.max))
    if not math.isfinite(low) or not math.isfinite(high):
        raise ConfigError(
            "values that are centred or scaled as dataset.centre and dataset.scale say are too "
            "large for float32; scale the array before it is saved"
        )
    return Interval(low, high)
