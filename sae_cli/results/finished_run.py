"""A finished run as a report needs it, read as plain data and without importing torch.

Hundreds of runs are read in a second, because the options of their parts are taken as they stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_cli.config.settings import EARLIER_GROUPS, EARLIER_OPTIONS, FREE, GROUP_NAMES, Settings
from sae_cli.core.errors import ConfigError
from sae_cli.core.registry import validate
from sae_cli.results.needed_plugins import needed_by
from sae_cli.run_folder.files import check_links, read_json
from sae_cli.run_folder.layout import CONFIG, ENVIRONMENT, OVERRIDES, read_summary
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES, read_texts, read_yaml

# These options of data sets say where their files are.
PATHS = ("path", "root")
# Runs of a group may differ in these settings.
OWN = ("seed", *FREE)


@dataclass(frozen=True)
class FinishedRun:
    """The content of a finished run's folder.

    Attributes:
        settings: of the run as a whole, checked.
        parts: group -> the chosen part's ``name`` and options, as the run wrote them.
        overrides: what the command line changed.
        summary: the metrics of the final weights.
        started: when, in ISO 8601.
        machine: the versions, the machine and the code that it was made with, in one line.
        data: the fingerprint of what it was trained on.
    """

    settings: Settings
    parts: dict[str, dict[str, Any]]
    overrides: list[str]
    summary: dict[str, Any]
    started: str
    machine: str
    data: str = ""

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def system(self) -> str:
        """Its experiment, or its model and data set if it has none."""
        return (
            self.settings.experiment or f"{self.settings.model} on {self.parts['dataset']['name']}"
        )

    @property
    def path(self) -> tuple[str, str]:
        """The option that says where its data were, and where; both empty where none does."""
        for name in PATHS:
            given = self.parts["dataset"].get(name)
            if given is not None:
                every = given if isinstance(given, list) else [given]
                return f"dataset.{name}", ", ".join(map(str, every))
        return "", ""

    @property
    def data_key(self) -> str:
        """What runs share that were trained on the same data, wherever these lay."""
        options = {k: v for k, v in self.parts["dataset"].items() if f"dataset.{k}" not in FREE}
        return json.dumps([options, self.data if self.path[0] else ""], default=str, sort_keys=True)

    def group_settings(self) -> dict[str, Any]:
        """Dotted keys and values of the settings that the runs of a group share."""
        flat = self.settings.model_dump() | {
            f"{group}.{option}": value
            for group, part in self.parts.items()
            for option, value in part.items()
        }
        return {key: value for key, value in flat.items() if key not in OWN}

    def metric(self, name: str) -> float | None:
        """A metric of the summary, or None if it is missing or not finite."""
        value = self.summary.get(name)
        return None if value is None else float(value)


def read_finished(path: Path) -> FinishedRun:
    """Read the folder of a finished run.

    Raises:
        ConfigError: a file of it is damaged, missing or a link.
    """
    check_links(path)
    config = read_yaml(path / CONFIG, MAX_CONFIG_BYTES)
    record = read_json(path / ENVIRONMENT)
    try:
        return FinishedRun(
            _settings(config),
            {group: saved_part({**EARLIER_GROUPS, **config}, group) for group in GROUP_NAMES},
            read_texts(path / OVERRIDES, MAX_CONFIG_BYTES),
            read_summary(path),
            str(record.get("started")),
            machine(record),
            _text(record, "dataset", "fingerprint"),
        )
    except ConfigError as error:
        if str(path) in str(error):
            raise
        raise ConfigError(f"{path / CONFIG}: {error}") from None


def _settings(config: Mapping[str, Any]) -> Settings:
    given = {key: value for key, value in config.items() if key not in GROUP_NAMES}
    return Settings(**validate(Settings, given, "", "the settings are"))


def saved_part(config: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Give a part's name and options, those of an earlier version as what they mean today.

    Raises:
        ConfigError: it is not a part.
    """
    part = config.get(group)
    if not isinstance(part, dict) or not isinstance(part.get("name"), str):
        raise ConfigError(f"{group} is not a part with a name")
    part = part | EARLIER_OPTIONS.get((group, part["name"]), {}) | part
    # An earlier run that was resumed or reproduced says in words what the others leave open.
    return part | {"axes": None} if part.get("axes") == "as_stored" else part


def machine(record: Mapping[str, Any]) -> str:
    """Word the versions, the machine and the code of a run in one line."""
    packages = [f"{name} {_text(record, 'packages', name)}" for name in ("torch", "numpy")]
    gpu = _text(record, "hardware", "gpu")
    return "; ".join(
        [
            f"Python {_text(record, 'python')}, {', '.join(packages)}",
            f"{_text(record, 'hardware', 'processor')}, {_text(record, 'hardware', 'cores')} "
            f"cores, {'no GPU' if gpu == 'none' else gpu}",
            _text(record, "hardware", "platform"),
            f"code {_text(record, 'code', 'sha256')[:12]}",
            *(f"plug-in {one.title}" for one in needed_by(record)),
        ]
    )


def _text(record: Any, *keys: str) -> str:
    """Give a value as text, or ``none`` if it is missing. The record may be a stranger's."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return "none" if record is None else str(record)
