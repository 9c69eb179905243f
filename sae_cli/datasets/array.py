"""A user's own numbers: the rows of an array in a file, or in many."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.options import Positive
from sae_cli.core.shapes import Interval
from sae_cli.datasets.axes import Axes, as_examples, check_axes, doubt, doubt_of_rows
from sae_cli.datasets.centre import Centre, Scale, centre_and_scale
from sae_cli.datasets.dataset import DATASETS, Dataset, Split
from sae_cli.datasets.formats.array_file import open_array_file
from sae_cli.datasets.formats.array_scan import interval_of
from sae_cli.datasets.formats.opened import ArrayFile, dtype_name
from sae_cli.datasets.inputs import Inputs
from sae_cli.datasets.rows import Stored
from sae_cli.datasets.shards import open_arrays
from sae_cli.datasets.splits import Seed, Share, split_shares

DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.bool,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)
INTEGERS = DTYPES[4:]


@DATASETS.register("array")
def array(
    *,
    path: str,
    key: str | None,
    labels: str | None,
    divisor: Positive,
    val: Share,
    test: Share,
    shuffle_seed: Seed | None,
    axes: Axes | None = None,
    centre: Centre = False,
    scale: Scale = "none",
) -> Dataset:
    """Read rows of ``(n, d)``, ``(n, c, h, w)`` or any ``(n, ...)``: train, then val, then test.

    Values stay in the file where its format allows (.npy, .safetensors, .pt, .arrow), and what more
    than 1 GiB unpacks to goes to another file, so that an array may be larger than the memory. They
    are read through once, to refuse any that would spoil a training.

    Args:
        path: a file, or a folder or a pattern (``acts/*.npy``) of files, whose rows follow each
            other in the natural order of names.
        key: the name of the array in a file that holds several.
        labels: a .npy file of classes 0, 1, ..., or a key of the same file.
        divisor: a model sees the values divided by this (255 for images of bytes).
        shuffle_seed: draws the order of the rows; None keeps the order of the file.
        axes: what the axes of the array are. With None they are those that a model takes, unless
            that is in doubt.
        centre: subtract the mean or the geometric median of the training examples from all.
        scale: ``rms`` divides all values by one number, so that the mean squared norm of the
            (centred) training examples is the number of their values; ``unit_norm`` is the setting
            of that name.

    Raises:
        ConfigError: the file is missing, damaged or of another kind; values are not finite or all
            the same; axes or labels do not fit; a split would be empty; neither memory nor disk
            has room.
        MachineError: the disk gives out while values are unpacked to it.
    """
    file = open_arrays(path, "dataset.path")
    name = _data_key(file, key, labels)
    stored = file.stored(name)
    what = file.name_of(name)
    _check_kind(stored, what)
    shape = tuple(stored.shape)
    axes = axes or file.axes
    check_axes(axes, shape, what)
    stored = as_examples(axes, stored, what)
    _check_count(stored, shape, what)
    rows = split_shares(len(stored), val=val, test=test, seed=shuffle_seed)
    classes = None if labels is None else _labels(file, labels, len(stored))
    stored_interval = interval_of(stored, what)
    interval = Interval(stored_interval.low / divisor, stored_interval.high / divisor)
    inputs = Inputs(axes, divisor)
    several = len(stored) != shape[0]
    data = Dataset(
        train=Split(stored, rows.train, classes, inputs),
        val=Split(stored, rows.val, classes, inputs),
        test=Split(stored, rows.test, classes, inputs),
        interval=interval,
        n_classes=None if classes is None else int(classes.max()) + 1,
        source=(
            f"{what}{f' ({file.count})' if file.count else ''}: {dtype_name(stored)} {shape}"
            f"{f', {len(stored)} examples' if several else ''}, range {stored_interval}"
        ),
        axes_in_doubt=doubt(shape, what) if axes is None else "",
        rows_in_doubt=doubt_of_rows(shape, what) if axes is None else "",
        leading=shape[:-1] if axes == "tokens" and len(shape) > 2 else None,
    )
    return centre_and_scale(data, centre, scale)


def _data_key(file: ArrayFile, key: str | None, labels: str | None) -> str | None:
    """Choose the array of the file that holds the examples."""
    if file.keys is None:
        if key is not None:
            raise ConfigError(
                f"dataset.key={key}: {file.path} holds a single array; leave dataset.key=null"
            )
        return None
    if key is not None:
        if key not in file.keys:
            raise ConfigError(
                f"dataset.key={key} is not in {file.path}; choose one of {', '.join(file.keys)}"
                + nearest(key, file.keys)
            )
        return key
    if file.default is not None and file.default != labels:
        return file.default
    others = [name for name in file.keys if name != labels]
    if len(others) != 1:
        raise ConfigError(
            f"{file.path} holds {len(others)} arrays of examples ({', '.join(others) or 'none'}); "
            "choose one with dataset.key=NAME"
        )
    return others[0]


def _check_kind(stored: Stored, what: str) -> None:
    if stored.dtype not in DTYPES:
        raise ConfigError(
            f"{what} is of {dtype_name(stored)}; convert it to one of "
            f"{', '.join(str(dtype).removeprefix('torch.') for dtype in DTYPES)}"
        )
    shape = tuple(stored.shape)
    if len(shape) < 2:
        raise ConfigError(
            f"{what} has the shape {shape}; the first of at least two axes counts the examples, "
            "so reshape single numbers to (n, 1)"
        )


def _check_count(stored: Stored, shape: tuple[int, ...], what: str) -> None:
    """Refuse too few examples, in an array of this shape."""
    if len(stored) < 3 or 0 in shape:
        raise ConfigError(
            f"{what} has the shape {shape}; at least 3 examples of at least 1 value are needed, so "
            "that there is one to train, to validate and to test"
        )


def _labels(file: ArrayFile, labels: str, n_rows: int) -> Tensor:
    """Read int64 ``(n_rows,)`` from a key of the same file or from a .npy file."""
    if file.keys is not None and labels in file.keys:
        found, what = file.load(labels), file.name_of(labels)
    elif Path(labels).suffix.lower() == ".npy":
        found, what = open_array_file(labels, "dataset.labels").load(None), labels
    else:
        keys = file.keys or []
        listed = f"one of the keys {', '.join(keys)}, or " if keys else ""
        raise ConfigError(
            f"dataset.labels={labels} is not in {file.path}; give {listed}the path of a .npy file"
            + nearest(labels, keys)
        )
    if found.dtype not in INTEGERS or tuple(found.shape) != (n_rows,):
        raise ConfigError(
            f"dataset.labels={labels}: {what} is of {dtype_name(found)} {tuple(found.shape)}; the "
            f"labels must be integers of the shape ({n_rows},), one for each example"
        )
    # A copy is small, and stays what it is when the file changes.
    classes = found.to(torch.int64, copy=True)
    low, high = int(classes.min()), int(classes.max())
    # Numbers as large as the number of examples are ids or hashes, not classes.
    if low < 0 or high >= n_rows:
        raise ConfigError(
            f"dataset.labels={labels}: {what} has values from {low} to {high}; classes must be "
            f"numbered 0, 1, ..., below the number of examples ({n_rows})"
        )
    return classes
