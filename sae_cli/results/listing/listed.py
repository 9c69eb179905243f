"""One run of a list: whatever can be read of its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sae_cli.config.settings import EARLIER_GROUPS, EARLIER_OPTIONS, GROUP_NAMES
from sae_cli.core.errors import ConfigError
from sae_cli.run_folder.files import read_json
from sae_cli.run_folder.layout import (
    CONFIG,
    ENVIRONMENT,
    METRICS,
    holds_run,
    read_summary,
    status_of,
)
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES, read_yaml

# Runs are found as deep as in a folder of folders of sweeps.
MAX_DEPTH = 4
# The last line of metrics is within so many bytes of their end.
TAIL_BYTES = 1 << 16
# These keys of a summary are no metrics.
NO_METRIC = {"status", "stage"}


@dataclass(frozen=True)
class Listed:
    """A run of a list.

    Attributes:
        path: its folder.
        status: as ``status_of`` gives it; ``damaged`` where its configuration cannot be read.
        settings: by dotted key; a group has the name of its part, ``penalty: kl``.
        metrics: of the final weights, or of the last evaluation of a run that has not finished.
        started: when it began; None where that is not known.
        fault: what is wrong with it, or nothing.
    """

    path: Path
    status: str
    settings: dict[str, Any]
    metrics: dict[str, Any]
    started: datetime | None
    fault: str = ""

    @property
    def model(self) -> str:
        return str(self.settings.get("experiment") or self.settings.get("model") or "-")

    @property
    def data(self) -> str:
        return str(self.settings.get("dataset") or "-")

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """What ``results.fair`` asks for: group -> the part's ``name`` and options."""
        found: dict[str, dict[str, Any]] = {
            group: {"name": self.settings.get(group)} for group in GROUP_NAMES
        }
        for key, value in self.settings.items():
            group, _, option = key.partition(".")
            if group in found and option:
                found[group][option] = value
        return found

    def value(self, key: str) -> Any:
        """Give a setting or a metric by its name, or ``name``, ``path``, ``status``, ``started``;
        None if there is none."""
        own = {
            "name": self.path.name,
            "path": str(self.path),
            "status": self.status,
            "data": self.data,
            "started": self.started and self.started.isoformat(timespec="seconds"),
        }
        for found in (own, self.settings, self.metrics):
            if key in found:
                return found[key]
        return None

    @property
    def keys(self) -> Iterator[str]:
        """The names that ``value`` knows."""
        yield from ("name", "path", "status", "data", "started")
        yield from self.settings
        yield from self.metrics


def find_runs(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Yield the run folders in and below a folder, by name; links are not followed."""
    if holds_run(folder):
        yield folder
        return
    try:
        with os.scandir(folder) as entries:
            inner = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        # What may not be read holds nothing that can be listed.
        return
    if depth:
        for name in inner:
            yield from find_runs(folder / name, depth - 1)


def read_listed(path: Path) -> Listed:
    """Read what can be read of a run; what cannot is told by its ``fault``."""
    status = status_of(path)
    try:
        settings = flatten(_whole(path / CONFIG))
    except ConfigError as error:
        return Listed(path, "damaged", {}, {}, _started(path), str(error))
    try:
        metrics = read_summary(path) if status == "finished" else last_metrics(path)
    except ConfigError as error:
        return Listed(path, status, settings, {}, _started(path), str(error))
    found = {key: value for key, value in metrics.items() if key not in NO_METRIC}
    return Listed(path, status, settings, found, _started(path))


def _whole(file: Path) -> dict[str, Any]:
    """Read a configuration that is not cut off; what its options are is not looked at."""
    config = read_yaml(file, MAX_CONFIG_BYTES)
    for key in ("model", "seed", *GROUP_NAMES):
        if key not in config and key not in EARLIER_GROUPS:
            raise ConfigError(f"{file} is cut off, or not that of a run: it has no {key}")
    return config


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give settings by dotted key; the key of a group is the name of its part."""
    found: dict[str, Any] = {}
    for key, value in {**EARLIER_GROUPS, **config}.items():
        if key in GROUP_NAMES and isinstance(value, dict):
            name = value.get("name")
            options = EARLIER_OPTIONS.get((key, str(name)), {}) | value
            found[key] = name
            found |= {f"{key}.{option}": x for option, x in options.items() if option != "name"}
        else:
            found[key] = value
    return found


def last_metrics(path: Path) -> dict[str, Any]:
    """Read the last whole line of ``metrics.jsonl``; nothing where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    file = path / METRICS
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - TAIL_BYTES))
            *whole, _ = opened.read().split(b"\n")
        line = json.loads(whole[-1]) if whole else {}
    except (OSError, ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"{file} cannot be read ({text})") from None
    return line if isinstance(line, dict) else {}


def _started(path: Path) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(read_json(path / ENVIRONMENT).get("started")))
    except (ConfigError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
