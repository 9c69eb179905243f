"""Examples that are given to a loaded run: brought to what its model was trained on.

Channels that are last in the data file may be last here, too: the shape tells. What is divided in
training may be given as the file has it, or divided: integers are as in the file, fractions as a
model sees them. Where neither tells, the caller is asked; nothing is guessed. A centre is
subtracted, and a scale divided by, unless the caller says that ``x`` is as the model sees it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from sae_cli.core.shapes import Interval
from sae_cli.datasets.axes import stored_shape
from sae_cli.datasets.inputs import DataRecord

# Rounding takes values out of the range by less than this share of it.
ROUNDING = 1e-5
# So many integers are looked at, at a time.
LOOKED_AT = 1024

Pieces = Callable[[int], Iterator[Tensor]]


class Seen(NamedTuple):
    """Examples as a model sees them, float32 ``(batch, *input_shape)``, and what to warn of.

    ``doubts`` is a text for each kind of doubt.
    """

    values: Tensor
    doubts: dict[str, str]


@final
class Sight:
    """Examples that are brought to what the model was trained on, some at a time.

    What they are is decided on all of them. They stay as they are.

    Args:
        x: a tensor or array ``(batch, *input_shape)`` or ``(batch, n_features)``, or of the shape
            that the data file has.
        record: how the model's data were made.
        as_stored: whether ``x`` is as in the data file; None to tell by its shape and type.

    Raises:
        ValueError: the shape is wrong, or only ``as_stored`` can tell what ``x`` is.
    """

    def __init__(
        self, x: Any, record: DataRecord, input_shape: tuple[int, ...], as_stored: bool | None
    ) -> None:
        self._given = x if isinstance(x, Tensor) else np.asarray(x)
        self._record = record
        shape = tuple(self._given.shape)
        moved = _is_moved(shape, record, input_shape, as_stored)
        self._doubts: dict[str, str] = {}
        divided = _is_divided(self._pieces, record, as_stored, self._doubts)
        inputs = record.inputs
        self._stored = stored_shape(inputs.axes, input_shape) if moved else input_shape
        self._inputs = replace(
            inputs,
            axes=inputs.axes if moved else None,
            divisor=inputs.divisor if divided else 1.0,
            centre=None if as_stored is False else inputs.centre,
            scale=1.0 if as_stored is False else inputs.scale,
        )
        self._low, self._high = math.inf, -math.inf

    def __len__(self) -> int:
        return len(self._given)

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield what the model sees, float32 ``(at most size, *input_shape)``, on the device of
        what was given."""
        for piece in self._pieces(size):
            inputs = self._inputs.to(piece.device)
            values = inputs.apply_(piece.reshape(len(piece), *self._stored))
            low, high = (float(value) for value in values.aminmax())
            # NumPy's keep what is not a number, which is to be seen.
            self._low = float(np.minimum(self._low, low))
            self._high = float(np.maximum(self._high, high))
            yield values

    @property
    def doubts(self) -> dict[str, str]:
        """A text for each kind of doubt about the batches so far."""
        if self._low > self._high:
            return self._doubts
        span, trained = Interval(self._low, self._high), self._record.interval
        if is_about(span, trained):
            return self._doubts
        return self._doubts | {
            "range": (
                f"x has values in {span} as the model sees them, and it was trained on values in "
                f"{trained}; as_stored=True says that x is as in the data file, as_stored=False "
                "that it is as the model sees it"
            )
        }

    def _pieces(self, size: int) -> Iterator[Tensor]:
        """Yield copies of the examples as they were given."""
        for start in range(0, len(self), size):
            piece = self._given[start : start + size]
            if isinstance(piece, Tensor):
                yield piece.detach().clone()
            else:
                yield torch.from_numpy(np.array(piece))


def as_seen(
    x: Any, record: DataRecord, input_shape: tuple[int, ...], as_stored: bool | None
) -> Seen:
    """Make of all examples at once what the model was trained on, as ``Sight`` does."""
    sight = Sight(x, record, input_shape, as_stored)
    values = [*sight.batches(max(1, len(sight)))] or [torch.zeros(0, *input_shape)]
    return Seen(values[0], sight.doubts)


def _is_moved(
    shape: tuple[int, ...],
    record: DataRecord,
    input_shape: tuple[int, ...],
    as_stored: bool | None,
) -> bool:
    """Tell whether examples have the axes of the data file, where these are others."""
    stored = stored_shape(record.inputs.axes, input_shape)
    flat = (math.prod(input_shape),)
    last = record.inputs.axes == "channels_last"
    as_model = len(shape) > 1 and (_long(shape[1:]) == _long(input_shape) or shape[1:] == flat)
    as_file = last and len(shape) > 1 and _long(shape[1:]) == _long(stored)
    if last and as_stored is not None:
        as_model, as_file = as_model and not as_stored, as_file and as_stored
    if not as_model and not as_file:
        forms = dict.fromkeys([input_shape, stored, flat])
        listed = " or ".join(f"(batch, {', '.join(map(str, form))})" for form in forms)
        raise ValueError(f"x has shape {shape}; expected {listed}")
    if as_model and as_file and input_shape[0] > 1:
        raise ValueError(
            f"x has shape {shape}, which may have channels first or last; give as_stored=True if "
            "they are last, as in the data file, or as_stored=False"
        )
    return as_file and not as_model


def _is_divided(
    pieces: Pieces, record: DataRecord, as_stored: bool | None, doubts: dict[str, str]
) -> bool:
    """Tell whether values are still to be divided, as those of the data file are; note doubts."""
    dtype = next((piece.dtype for piece in pieces(1)), None)
    if dtype is None:
        return False
    divisor, fractions = record.inputs.divisor, dtype.is_floating_point
    # With unit norm no divisor makes a difference, unless a centre comes between the two.
    unmoved = record.inputs.unit_norm and record.inputs.centre is None
    if as_stored is not None or divisor == 1.0 or unmoved:
        return bool(as_stored) if as_stored is not None else not fractions
    ways = (
        f"as_stored=True if x is as in the data file (it is divided by {divisor:g} then), "
        "as_stored=False if it is as the model sees it"
    )
    if dtype == torch.bool or (fractions and record.integers is False):
        raise ValueError(f"x may be divided by {divisor:g} already, or not; give {ways}")
    if fractions and record.integers is None:
        doubts["type"] = f"x is taken as it is, not divided by {divisor:g}; give {ways}"
    if not fractions and record.interval.high < math.inf and _within(pieces, record.interval):
        doubts["type"] = f"x holds integers, which are divided by {divisor:g}; give {ways}"
    return not fractions


def _within(pieces: Pieces, interval: Interval) -> bool:
    """Tell whether integers that are not all 0 lie in the range of what has been divided."""
    any_left = False
    for piece in pieces(LOOKED_AT):
        values = piece.to(torch.float32)
        if not Interval(*(float(value) for value in values.aminmax())).within(interval):
            return False
        any_left = any_left or bool(values.any())
    return any_left


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out axes of length 1, which order nothing."""
    return tuple(n for n in shape if n != 1)


def is_about(found: Interval, trained: Interval) -> bool:
    """Tell whether values lie in the range that was trained on, but for rounding."""
    slack = ROUNDING * (trained.high - trained.low)
    if not math.isfinite(slack):
        return trained.low <= found.low and found.high <= trained.high
    return found.within(Interval(trained.low - slack, trained.high + slack))
