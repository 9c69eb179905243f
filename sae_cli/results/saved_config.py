"""The configuration in a run folder, read as data: ``config.yaml`` may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_cli.config.schema import RunConfig, check
from sae_cli.config.settings import EARLIER_GROUPS
from sae_cli.core.errors import ConfigError
from sae_cli.core.shapes import REALS, UNIT
from sae_cli.datasets.inputs import DataRecord, Inputs
from sae_cli.datasets.mnist import FASHION_MNIST
from sae_cli.results.needed_plugins import needed_by_run, require
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES, read_yaml

# What the values of data sets were divided by before model files recorded it.
EARLIER_DIVISORS = {"digits": 16.0, "natural_patches": 1.0} | dict.fromkeys(
    ("cifar10", "fashion_mnist", "image_folder", "kmnist", "mnist", "mnist_5k"), 255.0
)


def read_config(path: Path) -> RunConfig:
    """Read and check the configuration in a file that a run wrote.

    Raises:
        ConfigError: it cannot be read, is too large, is more than plain YAML, or is wrong; or it
            has parts of a plug-in that is not loaded.
    """
    config = read_yaml(path, MAX_CONFIG_BYTES)
    require(path.parent, needed_by_run(path.parent))
    try:
        return check_saved(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def check_saved(config: Mapping[str, Any]) -> RunConfig:
    """Check a configuration that this version or an earlier one has saved.

    Raises:
        ConfigError: one line on the first fault.
    """
    dataset = config.get("dataset")
    if isinstance(dataset, Mapping):
        config = {**config, "dataset": _upgraded(dataset)}
    return check({**EARLIER_GROUPS, **config})


def _upgraded(dataset: Mapping[Any, Any]) -> dict[Any, Any]:
    """Give a data set that an earlier version wrote as what it means today.

    Fashion-MNIST's ``root`` was a single folder, and Debian's folder was searched after it. The
    fingerprint tells whether the data are those of the run. Arrays were trained on as their axes
    were, and nobody was asked.
    """
    name, root = dataset.get("name"), dataset.get("root")
    if name == "fashion_mnist" and isinstance(root, str):
        return {**dataset, "root": [root, str(FASHION_MNIST.system)]}
    if name == "array" and "axes" not in dataset:
        return {**dataset, "axes": "as_stored"}
    return {**dataset}


def earlier_record(config: RunConfig) -> DataRecord:
    """Tell how the data were made of a run whose version has not recorded it."""
    dataset, unit_norm = config.parts["dataset"], config.settings.unit_norm
    if dataset["name"] == "array":
        return DataRecord(Inputs(None, dataset["divisor"], unit_norm), None, REALS)
    divisor = EARLIER_DIVISORS[dataset["name"]]
    interval = UNIT if divisor > 1.0 else REALS
    return DataRecord(Inputs(None, divisor, unit_norm), True, interval)


def with_axes_of(then: RunConfig, given: RunConfig) -> RunConfig:
    """Give ``given`` with the axes of ``then`` where it leaves those of the data open."""
    before, now = then.parts["dataset"], given.parts["dataset"]
    if before["name"] != "array" or now["name"] != "array" or now["axes"] is not None:
        return given
    return given.changed({"dataset.axes": before["axes"]})
