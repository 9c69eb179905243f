"""The data of a loaded run, read again from where its configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sae_cli.assembly.data import read_dataset
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.text import short
from sae_cli.datasets import Dataset, Split
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.datasets.inputs import DataRecord
from sae_cli.datasets.rows import take_rows
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import ENVIRONMENT
from sae_cli.training.loop import EVALUATION_BATCH
from sae_cli.training.metrics import SPLITS


class Rows(NamedTuple):
    """The examples of a split.

    Attributes:
        x: ``(n, *input_shape)`` float32; or as they are in the data file.
        labels: ``(n,)`` int64, -1 for an example without one; None without labels.
    """

    x: NDArray[Any]
    labels: NDArray[np.int64] | None


def rows_of(
    path: Path, config: RunConfig, record: DataRecord, split: str, as_stored: bool
) -> tuple[Rows, list[str]]:
    """Read a split of a run's data, and say what is doubtful about them.

    Args:
        path: the run folder.
        record: how the values that the model sees were made.
        as_stored: values as the data file has them; in place of those that the model sees, their
            centre and scale undone.

    Raises:
        ConfigError: there is no such split, or the data are missing or unfit.
    """
    split_name(split)
    with bus_errors_raised():
        data, notes = read_own(path, config)
        found = split_of(data, split)
        x = _as_stored(found) if as_stored else _as_seen(found, record)
    labels = None if found.labels is None else found.labels[found.rows].numpy()
    return Rows(x, labels), notes


def read_own(path: Path, config: RunConfig) -> tuple[Dataset, list[str]]:
    """Read the data of a run, and say if they are not those that it was trained on.

    Raises:
        ConfigError: the data are missing or unfit.
    """
    # A folder may come from anyone, so nothing is downloaded for it.
    data = read_dataset(config, download=False)
    return data, data_notes(path, data)


def data_notes(path: Path, data: Dataset) -> list[str]:
    """Say if data are not those that the run in a folder was trained on."""
    try:
        then = read_json(path / ENVIRONMENT)["dataset"]["fingerprint"]
    except (ConfigError, KeyError, TypeError):
        return [f"{short(path)} does not say which data it was trained on"]
    now = data.fingerprint()
    if then == now:
        return []
    return [
        f"the data are not those that {short(path)} was trained on ({data.source}; SHA-256 "
        f"{str(then)[:12]} then, {now[:12]} now)"
    ]


def split_of(data: Dataset, name: str) -> Split:
    """Give a split by its name; raise ConfigError if there is no such split."""
    found: Split = getattr(data, split_name(name))
    return found


def split_name(given: str) -> str:
    """Give the name of a split back; raise ConfigError if there is no such split."""
    if given not in SPLITS:
        raise ConfigError(
            f"split {given} is unknown; choose one of {', '.join(SPLITS)}" + nearest(given, SPLITS)
        )
    return given


def _as_seen(split: Split, record: DataRecord) -> NDArray[Any]:
    batches = split.batches(EVALUATION_BATCH)
    return torch.cat([record.inputs.with_centre_back(seen) for seen in batches]).numpy()


def _as_stored(split: Split) -> NDArray[Any]:
    taken = take_rows(split.stored, split.rows)
    # NumPy has no bfloat16.
    return (taken.float() if taken.dtype == torch.bfloat16 else taken).numpy()
