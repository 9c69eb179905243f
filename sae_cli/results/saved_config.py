"""The configuration in a run folder, read as data: ``config.yaml`` may come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae_cli.config.schema import RunConfig, check
from sae_cli.core.errors import ConfigError
from sae_cli.datasets.mnist import FASHION_MNIST
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES, read_yaml


def read_config(path: Path) -> RunConfig:
    """Read and check the configuration in a file that a run wrote.

    Raises:
        ConfigError: it cannot be read, is too large, is more than plain YAML, or is wrong.
    """
    config = read_yaml(path, MAX_CONFIG_BYTES)
    _upgrade_(config)
    try:
        return check(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _upgrade_(config: dict[str, Any]) -> None:
    """Change a configuration that an earlier version wrote to what it means today.

    Fashion-MNIST's ``root`` was a single folder, and Debian's folder was searched after it. The
    fingerprint tells whether the data are those of the run.
    """
    dataset = config.get("dataset")
    if not isinstance(dataset, dict) or dataset.get("name") != "fashion_mnist":
        return
    if isinstance(dataset.get("root"), str):
        dataset["root"] = [dataset["root"], str(FASHION_MNIST.system)]
