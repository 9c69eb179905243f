"""The range of the data: what no model can take, and the options that bring it nearer to 1."""

from __future__ import annotations

import math

import torch

from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import Interval
from sae_cli.datasets import Dataset

FLOAT32 = torch.finfo(torch.float32)
# Squares of larger values are infinite in float32, and squares of smaller ones are 0. Every
# reconstruction of such data takes squares.
LARGEST, SMALLEST = math.sqrt(FLOAT32.max), math.sqrt(FLOAT32.smallest_normal * FLOAT32.eps)
# Norms below this count as 0.
SMALLEST_NORM = 1e-12
# Data that are larger or smaller than 1 by more than this are trained on badly.
FAR = 1e6
# Divisors are exact for whole numbers below this, which are counts or levels of grey.
WHOLE = 10**7


def check_range(config: RunConfig, data: Dataset) -> None:
    """Refuse values that float32 holds and cannot be computed with.

    Args:
        data: before any unit norm.

    Raises:
        ConfigError: their squares, or their norms, are infinite or 0.
    """
    span = data.interval
    size = _size(span)
    if not math.isfinite(size):
        return
    norm = size * math.sqrt(data.shape.n_features)
    fault = ""
    if size > LARGEST:
        fault = "whose squares are too large for float32, in which models compute"
    elif span.high - span.low < SMALLEST:
        fault = "whose squares are 0 in float32, in which models compute"
    elif config.unit_norm and not SMALLEST_NORM < norm < LARGEST:
        option = "unit_norm=true" if config.settings.unit_norm else "dataset.scale=unit_norm"
        fault = f"whose norms, which {option} divides by, float32 cannot hold"
    if fault:
        ways = " or ".join(_divisors(config, span)) or "scale them"
        raise ConfigError(
            f"dataset={config.parts['dataset']['name']} has values in {span}, {fault}; {ways} "
            "brings them to about 1"
        )


def range_notes(config: RunConfig, data: Dataset) -> list[str]:
    """Say that data are far from 1, where learning rates and initial weights fit them badly."""
    size = _size(data.interval)
    if not math.isfinite(size) or 1.0 / FAR < size < FAR:
        return []
    ways = " or ".join(_divisors(config, data.interval)) or "another scale"
    return [f"note: the data have values in {data.interval}; {ways} brings them to about 1"]


def rescaling(config: RunConfig, span: Interval, above: float) -> str:
    """Say which options bring data nearer to 1; nothing if they are not ``above`` that in size.

    Args:
        span: the range of the data, as a model sees them.
    """
    if not above < _size(span) < math.inf:
        return ""
    ways = _divisors(config, span) + ([] if config.unit_norm else ["unit_norm=true"])
    return f"bring the data, which have values in {span}, to about 1 with {' or '.join(ways)}"


def _divisors(config: RunConfig, span: Interval) -> list[str]:
    section = config.parts["dataset"]
    # What is scaled by its own size is not changed by a divisor.
    if "divisor" not in section or section.get("scale") == "rms":
        return []
    size = _size(span) * section["divisor"]
    whole = size == round(size) and size < WHOLE
    divisor = size if whole else 10.0 ** math.ceil(math.log10(size))
    return [f"dataset.divisor={divisor:.7g}"]


def _size(span: Interval) -> float:
    return max(abs(span.low), abs(span.high))
