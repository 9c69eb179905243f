"""The axes of an array of images or sequences: their order in the file, and in a model."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.datasets.rows import Shards, Stored

Axes = Literal["as_stored", "channels_first", "channels_last", "features", "grey", "tokens"]
"""What the axes of an array are: ``as_stored`` for any that a model takes as they are; ``tokens``
if all but the last count examples; ``features`` if all but the first are one flat example; or one
of ``MEANINGS``."""

MEANINGS: dict[Axes, str] = {
    "channels_first": "(n, channels, height, width)",
    "channels_last": "(n, height, width, channels)",
    "grey": "(n, height, width)",
}
# The numbers of channels that images have: grey, red-green-blue, and these with transparency.
CHANNELS = (1, 3, 4)


def arranged_shape(axes: Axes | None, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of one example as a model sees it, from that of one in the file."""
    if axes == "channels_last":
        return (stored[-1], *stored[:-1])
    if axes == "features":
        return (math.prod(stored),)
    return (1, *stored) if axes == "grey" else stored


def stored_shape(axes: Axes | None, seen: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of one example in the file, from that which a model sees."""
    if axes == "channels_last":
        return (*seen[1:], seen[0])
    return seen[1:] if axes == "grey" else seen


def arrange(axes: Axes | None, stored: Tensor) -> Tensor:
    """Bring examples ``(batch, *stored)`` to the order of axes that a model sees."""
    if axes == "channels_last":
        return stored.movedim(-1, 1).contiguous()
    if axes == "features":
        return stored.flatten(1)
    return stored.unsqueeze(1) if axes == "grey" else stored


def as_examples(axes: Axes | None, stored: Stored, what: str) -> Stored:
    """Give the examples of an array ``(n, *stored)``, one a row: of ``tokens`` each token is one.

    Raises:
        ConfigError: the array would have to be copied for it.
    """
    if axes != "tokens":
        return stored
    try:
        if isinstance(stored, Shards):
            return stored.map(_tokens)
        return _tokens(stored)
    except RuntimeError:
        raise ConfigError(
            f"{what} has its axes in another order in the file; save it in that of C: "
            "numpy.ascontiguousarray(array), TENSOR.contiguous()"
        ) from None


def _tokens(values: Tensor) -> Tensor:
    return values.view(-1, values.shape[-1])


def check_axes(axes: Axes | None, shape: tuple[int, ...], what: str) -> None:
    """Refuse axes that an array of this shape does not have.

    Args:
        what: names the array in the error.
    """
    if axes is None or axes not in MEANINGS:
        return
    expected = MEANINGS[axes].count(",") + 1
    if len(shape) != expected:
        raise ConfigError(
            f"dataset.axes={axes} is for arrays {MEANINGS[axes]}, and {what} has the shape "
            f"{shape}; leave dataset.axes=null"
        )


def doubt_of_rows(shape: tuple[int, ...], what: str) -> str:
    """Say why nobody can tell from an array's shape what its examples are; nothing if one can."""
    if len(shape) != 3:
        return ""
    n, steps, width = shape
    return (
        f"{what} has the shape {shape}, whose axes can be those of texts of tokens, of grey images "
        f"or of sequences; give dataset.axes=grey for {MEANINGS['grey']}, dataset.axes=as_stored "
        f"for (n, steps, features), dataset.axes=tokens for {n * steps} examples of {width} "
        f"features, or dataset.axes=features for {n} of {steps * width}"
    )


def doubt(shape: tuple[int, ...], what: str) -> str:
    """Say why nobody can tell from an array's shape where its channels are; nothing if one can.

    Channels are believed to be first, unless there are as many as no image has, and the last axis
    looks like them. Square maps ``(n, c, s, s)`` are what they seem, however small.
    """
    if len(shape) != 4 or shape[1] in CHANNELS or shape[3] not in CHANNELS or shape[2] == shape[3]:
        return ""
    return (
        f"{what} has the shape {shape}, which reads as {shape[1]} channels of {shape[2]} x "
        f"{shape[3]} pixels, and its last axis looks like the channels; give "
        f"dataset.axes=channels_last for {MEANINGS['channels_last']}, or "
        f"dataset.axes=channels_first for {MEANINGS['channels_first']}"
    )
