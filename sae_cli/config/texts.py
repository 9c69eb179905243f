"""The keys whose values are names, which are text as typed, and how such a value is read."""

from __future__ import annotations

from typing import Any

import yaml

from sae_cli.core.errors import ConfigError

# The keys whose values are text, and whether null stands for no value. Options are those that are
# annotated ``str``; they are written down because the schema takes seconds to import.
TEXTS = {
    "dataset.path": True,
    "dataset.root": False,
    "dataset.key": True,
    "dataset.labels": True,
    "logger.mlflow.tracking_uri": True,
    "logger.wandb.project": False,
    "sort_by": False,
    "hydra.run.dir": False,
    "hydra.sweep.dir": False,
}
QUOTES = ("'", '"')


def read_text(key: str, value: str) -> Any:
    """Read the value of one of these keys; only quotes and brackets mean something in it.

    Raises:
        ConfigError: its quotes or brackets do not fit together.
    """
    text = value.strip()
    if TEXTS[key] and text == "null":
        return None
    if not text.startswith((*QUOTES, "[")):
        return text
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        raise ConfigError(f"{key}={value}: the value cannot be read") from None
