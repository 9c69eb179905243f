"""Finished runs, gathered from folders, grouped by settings, beside the published values."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_cli.config.published import Published
from sae_cli.config.schema import FREE, GROUPS, RunConfig, Settings
from sae_cli.core.differences import diff
from sae_cli.core.errors import ConfigError
from sae_cli.core.text import short
from sae_cli.results.saved_config import MAX_BYTES, read_config
from sae_cli.run_folder.files import check_links, read_json
from sae_cli.run_folder.layout import CONFIG, ENVIRONMENT, OVERRIDES, SUMMARY, holds_run, status_of
from sae_cli.run_folder.plain_yaml import as_yaml, read_texts

# Runs are found as deep as in a folder of folders of sweeps.
MAX_DEPTH = 4
# Runs of a group may differ in these settings.
OWN = ("seed", *FREE)
# Where nothing was published, these metrics are shown of runs that have them.
SHOWN = ("val/loss", "val/fvu", "test/accuracy")


@dataclass(frozen=True)
class FinishedRun:
    """The content of a finished run's folder.

    Attributes:
        overrides: what the command line changed.
        summary: the metrics of the final weights.
        record: the versions and the machine that it was made with.
    """

    config: RunConfig
    overrides: list[str]
    summary: dict[str, Any]
    record: dict[str, Any]

    @property
    def seed(self) -> int:
        return self.config.settings.seed

    @property
    def system(self) -> str:
        """Its experiment, or its model and data set if it has none."""
        settings = self.config.settings
        return settings.experiment or f"{settings.model} on {self.config.parts['dataset']['name']}"

    def group_settings(self) -> dict[str, Any]:
        """Dotted keys and values of the settings that the runs of a group share."""
        parts = self.config.parts
        flat = self.config.settings.model_dump() | {
            f"{group}.{option}": value for group in parts for option, value in parts[group].items()
        }
        return {key: value for key, value in flat.items() if key not in OWN}

    def metric(self, name: str) -> float | None:
        """A metric of the summary, or None if it is missing or not finite."""
        value = self.summary.get(name)
        # JSON integers can be too large for a float.
        if isinstance(value, int | float) and abs(value) <= sys.float_info.max:
            return float(value)
        return None


@dataclass(frozen=True)
class Row:
    """One metric of the runs that differ only in their seed.

    Attributes:
        system: experiment, or model and data set.
        variant: the settings, dotted, that set it apart from others of that system.
        published: the published value, if there is one.
        values: the value for each seed; None where a run lacks the metric.
        command: the command that trains these runs again.
        active_above: the magnitude above which a code counts as active.
    """

    system: str
    variant: dict[str, Any]
    metric: str
    published: Published | None
    values: dict[int, float | None]
    command: str
    active_above: float | None = None

    @property
    def measured(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.measured) if self.measured else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds (divided by n - 1); None for fewer than two."""
        return statistics.stdev(self.measured) if len(self.measured) > 1 else None

    @property
    def within(self) -> bool | None:
        """Whether the mean lies within the published tolerance; None where that cannot be said."""
        entry, mean = self.published, self.mean
        if entry is None or entry.value is None or entry.tolerance is None:
            return None
        if mean is None or len(self.measured) < len(self.values):
            return None
        return abs(mean - entry.value) <= entry.tolerance


def gather(folders: Sequence[Path]) -> tuple[list[FinishedRun], int]:
    """Read the finished runs in and below these folders, and count the others.

    Raises:
        ConfigError: there is none, or a folder is damaged.
    """
    paths = {path.resolve(): path for folder in folders for path in _runs_below(folder, MAX_DEPTH)}
    finished = [path for path in paths.values() if status_of(path) == "finished"]
    if not finished:
        raise ConfigError(
            f"no finished run in {', '.join(map(short, folders))} ({len(paths)} that have not "
            "finished); give run folders, sweeps, or folders of these"
        )
    return [_read(path) for path in finished], len(paths) - len(finished)


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if holds_run(folder):
        yield folder
    elif depth:
        for path in sorted(folder.iterdir()):
            # A link may lead in a circle.
            if path.is_dir() and not path.is_symlink():
                yield from _runs_below(path, depth - 1)


def _read(path: Path) -> FinishedRun:
    check_links(path)
    return FinishedRun(
        read_config(path / CONFIG),
        read_texts(path / OVERRIDES, MAX_BYTES),
        read_json(path / SUMMARY),
        read_json(path / ENVIRONMENT),
    )


def rows(runs: Iterable[FinishedRun]) -> list[Row]:
    """Make a row for each metric of each group of runs, sorted by system and variant.

    Of runs with the same settings and seed, the one that started last counts.
    """
    systems: dict[str, dict[bytes, list[FinishedRun]]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, str(run.record.get("started")))):
        key = as_yaml(run.group_settings())
        systems.setdefault(run.system, {}).setdefault(key, []).append(run)
    found: list[Row] = []
    for system in sorted(systems):
        variants = sorted(_variants(list(systems[system].values())), key=lambda one: str(one[0]))
        for variant, group in variants:
            found.extend(_rows(system, variant, group))
    return found


def _variants(
    groups: list[list[FinishedRun]],
) -> Iterator[tuple[dict[str, Any], list[FinishedRun]]]:
    """Yield each group with the settings that not all groups share."""
    settings = [group[0].group_settings() for group in groups]
    keys = {found.key for other in settings for found in diff(settings[0], other)}
    for group, one in zip(groups, settings, strict=True):
        yield {key: value for key, value in one.items() if key in keys}, group


def _rows(system: str, variant: dict[str, Any], group: list[FinishedRun]) -> Iterator[Row]:
    by_seed = {run.seed: run for run in group}
    newest = max(by_seed.values(), key=lambda run: str(run.record.get("started")))
    published = newest.config.settings.published
    shown: list[tuple[str, Published | None]] = [(entry.metric, entry) for entry in published]
    if not shown:
        shown = [(name, None) for name in SHOWN if any(name in run.summary for run in group)]
    for name, entry in shown:
        values = {seed: run.metric(name) for seed, run in by_seed.items()}
        command = _command(group, list(by_seed))
        active_above = newest.metric("active_above")
        yield Row(system, variant, name, entry, values, command, active_above)


def _command(group: Sequence[FinishedRun], seeds: Sequence[int]) -> str:
    """Word the command for these runs, without settings of where they lie and what they show."""
    # Runs that were reproduced, or began in Python, have no overrides, so the longest list counts.
    fullest = max((run.overrides for run in group), key=len)
    given = {text.partition("=")[0]: text for text in fullest if "=" in text}
    known = {"model", "experiment", *Settings.model_fields, *GROUPS} - {"seed"}
    kept = {
        key: text
        for key, text in given.items()
        if key.partition(".")[0] in known and key not in FREE
    }
    settings = group[0].config.settings
    page = "model" if settings.experiment is None else "experiment"
    chosen = kept.pop(page, f"{page}={getattr(settings, page)}")
    many = ["-m"] if len(seeds) > 1 else []
    words = ["sae-train", chosen, *kept.values(), *many, f"seed={','.join(map(str, seeds))}"]
    return shlex.join(words)


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
        ]
    )


def _text(record: Any, *keys: str) -> str:
    """Give a value as text, or ``none`` if it is missing. The record may be a stranger's."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return "none" if record is None else str(record)
