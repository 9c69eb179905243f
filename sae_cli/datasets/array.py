"""Arrays of examples: ``.npy`` (memory-mapped), ``.npz`` and ``.safetensors`` (memory-mapped)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.datasets.array_file import read_array
from sae_cli.datasets.dataset import CHUNK_BYTES, DATASETS, Dataset, Split
from sae_cli.datasets.splits import by_shares, shuffled
from sae_cli.options import Natural, OpenUnit
from sae_cli.registry import ConfigError
from sae_cli.shapes import Interval

LEAST_ROWS = 3


@DATASETS.register("array")
def array(
    *,
    path: str,
    key: str | None,
    labels: str | None,
    val: OpenUnit,
    test: OpenUnit,
    shuffle_seed: Natural | None,
) -> Dataset:
    """The first axis counts examples; the others are the shape of one.

    Training rows come first, then validation, then test, in the file's order or, with
    ``shuffle_seed``, in the one it draws. ``labels`` is a file, or a key of the same file.

    Raises:
        ConfigError: the file is missing, damaged or of another kind; values are not finite or all
            the same; labels do not fit.
    """
    file = Path(path).expanduser()
    stored = read_array(file, key, "dataset.path", "dataset.key")
    if stored.ndim < 2 or len(stored) < LEAST_ROWS or stored[0].numel() == 0:
        raise ConfigError(
            f"{file} has shape {tuple(stored.shape)}; expected (examples, features) or "
            f"(examples, channels, height, width) with at least {LEAST_ROWS} examples"
        )
    interval = _range(file, stored)
    classes = None if labels is None else _labels(file, labels, len(stored))
    order = (
        torch.arange(len(stored)) if shuffle_seed is None else shuffled(len(stored), shuffle_seed)
    )
    train, validation, held_out = by_shares(order, val, test)
    dtype = str(stored.dtype).removeprefix("torch.")
    return Dataset(
        train=Split(stored, train, classes),
        val=Split(stored, validation, classes),
        test=Split(stored, held_out, classes),
        interval=interval,
        n_classes=None if classes is None else int(classes.max()) + 1,
        source=f"{file.absolute()}: {dtype} {tuple(stored.shape)}, range {interval}",
    )


def _range(file: Path, stored: Tensor) -> Interval:
    """The least and greatest value, read chunk by chunk.

    Raises:
        ConfigError: a value is not a finite float32, or all are the same.
    """
    low, high = math.inf, -math.inf
    rows = max(1, CHUNK_BYTES // (stored[0].numel() * 8))
    for start in range(0, len(stored), rows):
        chunk = stored[start : start + rows].to(torch.float32).flatten(1)
        finite = chunk.isfinite().all(1)
        if not bool(finite.all()):
            row = start + int((~finite).nonzero()[0])
            raise ConfigError(
                f"{file} holds a value in row {row} that is not a finite number; remove such rows"
            )
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    if low == high:
        raise ConfigError(f"{file} holds nothing but {low:g}; there is nothing to learn from it")
    return Interval(low, high)


def _labels(file: Path, labels: str, n: int) -> Tensor:
    """int64 ``(n,)``, from a file of their own or a key of the examples' file."""
    if Path(labels).suffix:
        found = read_array(Path(labels).expanduser(), None, "dataset.labels", "dataset.labels")
    else:
        found = read_array(file, labels, "dataset.path", "dataset.labels")
    if found.is_floating_point() or found.shape != (n,) or int(found.min()) < 0:
        raise ConfigError(
            f"dataset.labels={labels} has shape {tuple(found.shape)} and type {found.dtype}; "
            f"expected {n} integers from 0 on, one for each example"
        )
    return found.long()
