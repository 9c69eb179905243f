"""A run as a page shows it, finished or not: what of its folder can be read, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sae_cli.config.settings import EARLIER_GROUPS, GROUP_NAMES
from sae_cli.core.errors import ConfigError, in_one_line
from sae_cli.results.finished_run import saved_part
from sae_cli.run_folder.files import check_links, read_json
from sae_cli.run_folder.layout import (
    CONFIG,
    ENVIRONMENT,
    OVERRIDES,
    STATUS,
    read_metrics,
    read_summary,
    status_of,
)
from sae_cli.run_folder.plain_yaml import MAX_CONFIG_BYTES, read_texts, read_yaml

T = TypeVar("T")
FINISHED = "finished"
MOST = 1e300


@dataclass(frozen=True)
class ShownRun:
    """The content of a run folder.

    Attributes:
        path: the folder.
        status: as ``status_of`` gives it.
        error: what it ended with, or an empty text.
        settings: dotted keys and values as text, each one harmless line.
        overrides: what the command line changed.
        record: ``environment.json``, unchecked.
        metrics: the finite ones of the final weights; of a run that has not finished, those of its
            last epoch.
        lines: of ``metrics.jsonl``; ``stage`` is a text, ``epoch`` and all metrics finite numbers.
        faults: what of the folder cannot be read.
    """

    path: Path
    status: str
    error: str
    settings: dict[str, str]
    overrides: list[str]
    record: Mapping[str, Any]
    metrics: dict[str, float]
    lines: list[dict[str, Any]]
    faults: list[str]

    def number(self, key: str) -> float | None:
        """Give the value of a setting that is a number, or None."""
        with suppress(ValueError):
            value = float(self.settings.get(key, ""))
            return value if math.isfinite(value) else None
        return None


def read_run(path: Path, status: str | None = None) -> ShownRun:
    """Read what a run has left so far.

    Args:
        path: the run folder.
        status: that of the run, where its folder does not say it yet.

    Raises:
        ConfigError: something in the folder is a link, a pipe or a device, or ``config.yaml``
            cannot be read.
    """
    check_links(path)
    settings = _settings(read_yaml(path / CONFIG, MAX_CONFIG_BYTES))
    faults: list[str] = []

    def attempt(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except ConfigError as error:
            faults.append(str(error))
            return otherwise

    lines: list[dict[str, Any]] = attempt(lambda: [*map(_line, read_metrics(path))], [])
    record: dict[str, Any] = attempt(lambda: read_json(path / ENVIRONMENT), {})
    overrides: list[str] = attempt(lambda: read_texts(path / OVERRIDES, MAX_CONFIG_BYTES), [])
    state: dict[str, Any] = attempt(lambda: read_json(path / STATUS), {})
    status = status or status_of(path)
    metrics = _numbers(lines[-1]) if lines else {}
    if status == FINISHED:
        metrics = attempt(lambda: _numbers(read_summary(path)), metrics)
    return ShownRun(
        path,
        status,
        in_one_line(str(state.get("error", ""))) if status != FINISHED else "",
        settings,
        [*map(in_one_line, overrides)],
        record,
        metrics,
        lines,
        faults,
    )


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    config = {**config, **{k: v for k, v in EARLIER_GROUPS.items() if k not in config}}
    for group in GROUP_NAMES:
        # A part that is none is shown as it is.
        with suppress(ConfigError):
            config[group] = saved_part(config, group)
    flat = _flat(config)
    return {key.removesuffix(".name"): value for key, value in flat.items()}


def _flat(value: Any, key: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= _flat(inner, f"{key}.{name}" if key else str(name))
        return found
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return {in_one_line(key): in_one_line(text)}


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"stage": in_one_line(str(line.get("stage", "")))} | _numbers(line)


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {in_one_line(key): value for key, value in values.items() if is_number(value)}


def is_number(value: Any) -> bool:
    """Tell whether a value from a file is a number that JavaScript can hold."""
    # JSON integers can be too large for a float; a comparison with NaN is false.
    return type(value) in (int, float) and abs(value) <= MOST
