"""The configuration in a run folder, read as data: ``config.yaml`` may come from a stranger."""

from __future__ import annotations

from pathlib import Path

from sae_cli.config.schema import RunConfig, check
from sae_cli.run_folder.plain_yaml import read_yaml

# A run writes about 2 kB.
MAX_BYTES = 1 << 16


def read_config(path: Path) -> RunConfig:
    """Read and check the configuration in a file that a run wrote.

    Raises:
        ConfigError: it cannot be read, is too large, is more than plain YAML, or is wrong.
    """
    return check(read_yaml(path, MAX_BYTES))
