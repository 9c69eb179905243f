"""The data set that a configuration names, and whether the parts can work with it."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from sae_cli.assembly.parts import Parts
from sae_cli.assembly.ranges import check_range
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.core.paths import full_path, full_pattern
from sae_cli.datasets import DATASETS, Dataset, Split
from sae_cli.datasets.classes import keep_classes
from sae_cli.model.architectures.architecture import SEES_AXES
from sae_cli.training.heads import HEADS
from sae_cli.training.metrics import BASELINE_BATCH, Baseline

# These options of data sets say where their files are.
PATHS = ("path", "root")


def read_dataset(config: RunConfig, *, download: bool = True) -> Dataset:
    """Read the data set into the machine's memory.

    Args:
        download: whether it may be downloaded where the configuration says so.

    Raises:
        ConfigError: files are missing, damaged or unfit, or scaled in two ways.
    """
    if _kept is None:
        return _read(config, download)
    key = _source(config)
    if key not in _kept:
        _kept[key] = _Kept(_read(config, download))
    return _kept[key].data


@contextmanager
def read_once() -> Iterator[None]:
    """Read and measure data that several runs ask for once, and keep them until the end."""
    global _kept
    before, _kept = _kept, dict(_kept or {})
    try:
        yield
    finally:
        _kept = before


def on_device(data: Dataset, device: torch.device) -> Dataset:
    """Give data on a device; to a GPU those that several runs share are moved once.

    Those that are streamed are each run's own, which waits for its own batches.
    """
    kept = next((one for one in (_kept or {}).values() if one.data is data), None)
    if kept is None or device.type == "cpu":
        return data.to(device)
    moved = kept.moved.get(device) or data.to(device)
    if moved.train.streamed_to is None:
        kept.moved[device] = moved
    return moved


def baseline_of(config: RunConfig, split: Split) -> Baseline:
    """Measure the values of a split of a run's data, or of the codes that a stage of it sees."""
    kept = (_kept or {}).get(_source(config))
    # On a GPU they are others, and summed in another order.
    if kept is None or all(split.rows is not rows for rows in kept.rows):
        return Baseline.of(split.batches(BASELINE_BATCH))
    key = id(split.rows)
    if key not in kept.baselines:
        kept.baselines[key] = Baseline.of(split.batches(BASELINE_BATCH))
    return kept.baselines[key]


@dataclass(frozen=True)
class _Kept:
    """Data that were read.

    Attributes:
        baselines: the figures of their splits, by the identity of the split's rows.
        moved: the same data on GPUs.
    """

    data: Dataset
    baselines: dict[int, Baseline] = field(default_factory=dict)
    moved: dict[torch.device, Dataset] = field(default_factory=dict)

    @property
    def rows(self) -> list[Tensor]:
        return [split.rows for split in (self.data.train, self.data.val, self.data.test)]


_kept: dict[str, _Kept] | None = None


def _source(config: RunConfig) -> str:
    head = HEADS.build(config.parts["head"])
    return repr((config.parts["dataset"], config.unit_norm, head and head.classes))


def _read(config: RunConfig, download: bool) -> Dataset:
    section = config.parts["dataset"]
    if config.settings.unit_norm and section.get("scale") == "rms":
        raise ConfigError(
            "unit_norm=true would undo dataset.scale=rms; choose one of them, or "
            "dataset.scale=unit_norm"
        )
    if section.get("download") is True and not download:
        section = section | {"download": False}
    data = DATASETS.build(section)
    check_range(config, data)
    head = HEADS.build(config.parts["head"])
    if head is not None and head.classes is not None:
        data = keep_classes(data, head.classes)
    return data.with_unit_norm() if config.unit_norm else data


def locate(config: RunConfig) -> RunConfig:
    """Make the paths of the data absolute, so that the configuration holds in any folder."""
    section = config.parts["dataset"]
    given = {k: section[k] for k in PATHS if section.get(k) is not None}
    paths = {k: _absolute(path) for k, path in given.items()}
    labels = section.get("labels")
    # Labels that are no file are a key of the array's own.
    if labels is not None and Path(labels).suffix.lower() == ".npy" and full_path(labels).is_file():
        paths["labels"] = str(full_path(labels))
    return replace(config, parts=config.parts | {"dataset": section | paths})


def _absolute(path: str | list[str]) -> str | list[str]:
    """Make a path absolute, or each of a list of them."""
    if isinstance(path, str):
        is_pattern = glob.has_magic(path) and not full_path(path).exists()
        return full_pattern(path) if is_pattern else str(full_path(path))
    return [str(full_path(one)) for one in path]


def check_data(config: RunConfig, parts: Parts, data: Dataset, *, is_new: bool = True) -> None:
    """Refuse a data set whose values the parts cannot work with.

    Args:
        is_new: whether a run begins. Others have begun with their axes as they are, perhaps with
            a version that did not ask about them.

    Raises:
        ConfigError: the axes of images are in doubt, a value is outside of a part's range, or a
            batch is larger than the data.
    """
    architecture = config.parts["architecture"]["name"]
    if is_new and architecture in SEES_AXES and (doubt := data.axes_in_doubt or data.rows_in_doubt):
        raise ConfigError(f"architecture={architecture} sees images: {doubt}")
    if is_new and data.rows_in_doubt:
        raise ConfigError(data.rows_in_doubt)
    source = f"dataset={config.parts['dataset']['name']} has values in {data.interval}"
    if not data.interval.within(parts.reconstruction.targets):
        raise ConfigError(
            f"{source}, and reconstruction={config.parts['reconstruction']['name']} needs targets "
            f"in {parts.reconstruction.targets}; choose reconstruction=mse or rescale the data "
            "(dataset=array has a divisor)"
        )
    if parts.corruption is not None and not data.interval.within(parts.corruption.requires):
        raise ConfigError(
            f"{source}, and corruption={config.parts['corruption']['name']} needs inputs in "
            f"{parts.corruption.requires}; choose another corruption or rescale the data"
        )
    if parts.network.supervision is not None and data.unlabelled:
        raise ConfigError(
            f"head={config.parts['head']['name']} needs labels, and {data.unlabelled}; mend them, "
            "or choose head=none"
        )
    output = parts.output
    if not data.interval.within(output.interval):
        raise ConfigError(
            f"{source}, which architecture.output_activation={output.name} cannot reach (it gives "
            f"{output.interval}); choose architecture.output_activation=identity or rescale the "
            "data"
        )
    if config.settings.batch_size > len(data.train):
        raise ConfigError(
            f"batch_size={config.settings.batch_size} is more than the {len(data.train)} training "
            "examples; give at most that many"
        )
