"""Finished runs, gathered from folders, grouped by settings, beside the published values."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sae_cli.config.published import Published
from sae_cli.config.settings import FREE, GROUP_NAMES, Settings
from sae_cli.core.differences import diff
from sae_cli.core.errors import ConfigError
from sae_cli.core.text import short
from sae_cli.results.fair import conditions, sparsity
from sae_cli.results.finished_run import FinishedRun, read_finished
from sae_cli.run_folder.layout import holds_run, status_of
from sae_cli.training.better import higher_is_better, lower_is_better

# Runs are found as deep as in a folder of folders of sweeps.
MAX_DEPTH = 4
# Where nothing was published, these metrics are shown of runs that have them, and between them how
# sparse the codes are.
SHOWN = ("val/loss", "val/fvu")
SHOWN_LAST = ("test/accuracy",)


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
        condition: what has to be the same to compare the metric with that of another row.
    """

    system: str
    variant: dict[str, Any]
    metric: str
    published: Published | None
    values: dict[int, float | None]
    command: str
    active_above: float | None = None
    condition: str = ""

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

    @property
    def verdict(self) -> str | None:
        """``within`` in words: yes, no, or ``no, better`` beyond the tolerance on the good side."""
        entry, mean = self.published, self.mean
        if self.within is not False or entry is None or entry.value is None or mean is None:
            return None if self.within is None else "yes"
        good = higher_is_better if mean > entry.value else lower_is_better
        return "no, better" if good(self.metric) else "no"


def gather(folders: Sequence[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Read the finished runs in and below these folders.

    Returns:
        the runs, and a line on each other one: its status, or what is wrong with it.

    Raises:
        ConfigError: there is no run that has finished and can be read.
    """
    paths = {path.resolve(): path for folder in folders for path in runs_below(folder)}
    runs, left_out = [], []
    for path in paths.values():
        status = status_of(path)
        try:
            if status == "finished":
                runs.append(read_finished(path))
            else:
                left_out.append(f"{short(path)}: {status}")
        except ConfigError as error:
            left_out.append(str(error))
    if not runs:
        others = (
            f" ({len(left_out)} that have not finished or cannot be read, such as {left_out[0]})"
            if left_out
            else ""
        )
        raise ConfigError(
            f"no finished run in {', '.join(map(short, folders))}{others}; give run folders, "
            "sweeps, or folders of these"
        )
    return runs, left_out


def runs_below(folder: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """Yield the run folders in and below a folder, in the order of their names."""
    if holds_run(folder):
        yield folder
    elif depth:
        for path in sorted(folder.iterdir()):
            # A link may lead in a circle.
            if path.is_dir() and not path.is_symlink():
                yield from runs_below(path, depth - 1)


def rows(runs: Iterable[FinishedRun]) -> list[Row]:
    """Make a row for each metric of each group of runs, sorted by system and variant."""
    return [row for group in groups(runs) for row in _rows(group)]


class Group(NamedTuple):
    """Runs that differ only in their seed.

    Attributes:
        variant: the settings, dotted, that set it apart from others of its system.
        runs: in the order of seeds; of those with one seed, the one that started last counts.
    """

    system: str
    variant: dict[str, Any]
    runs: list[FinishedRun]

    @property
    def by_seed(self) -> dict[int, FinishedRun]:
        return {run.seed: run for run in self.runs}


def groups(runs: Iterable[FinishedRun]) -> Iterator[Group]:
    """Group runs that differ only in their seed, sorted by system and variant."""
    systems: dict[str, dict[str, list[FinishedRun]]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.started)):
        # Files may have moved, and others may be where they were.
        key = json.dumps([run.group_settings(), run.data_key], default=str, sort_keys=True)
        systems.setdefault(run.system, {}).setdefault(key, []).append(run)
    for system in sorted(systems):
        variants = sorted(_variants(list(systems[system].values())), key=lambda one: str(one[0]))
        for variant, group in variants:
            yield Group(system, variant, group)


def _variants(
    groups: list[list[FinishedRun]],
) -> Iterator[tuple[dict[str, Any], list[FinishedRun]]]:
    """Yield each group with the settings that not all groups share."""
    settings = [group[0].group_settings() for group in groups]
    keys = {found.key for other in settings for found in diff(settings[0], other)}
    own = [{key: value for key, value in one.items() if key in keys} for one in settings]
    for group, variant in zip(groups, own, strict=True):
        # What else sets groups apart is what they were trained on.
        alike = [other[0] for other, its in zip(groups, own, strict=True) if its == variant]
        yield variant | (_data_of(group[0], alike) if len(alike) > 1 else {}), group


def _data_of(run: FinishedRun, others: Sequence[FinishedRun]) -> dict[str, str]:
    """Name the data of a run such that they are told from those of others."""
    option, path = run.path
    for named in (lambda path: Path(path).name, str):
        names = [named(one.path[1]) for one in others]
        if names.count(name := named(path)) == 1:
            return {option: name}
    return {"data": run.data[:12]}


def _rows(group: Group) -> Iterator[Row]:
    by_seed = group.by_seed
    newest = max(by_seed.values(), key=lambda run: run.started)
    published = newest.settings.published
    active_above = newest.metric("active_above")
    fairs = conditions(newest.parts, active_above)
    shown: list[tuple[str, Published | None]] = [(entry.metric, entry) for entry in published]
    if not shown:
        measure = sparsity(newest.parts, active_above)
        names = [*SHOWN, *([measure.metric] if measure else []), *SHOWN_LAST]
        present = [name for name in names if any(name in run.summary for run in group.runs)]
        shown = [(name, None) for name in present]
    for name, entry in shown:
        yield Row(
            group.system,
            group.variant,
            name,
            entry,
            {seed: run.metric(name) for seed, run in by_seed.items()},
            _command(group.runs, list(by_seed)),
            active_above,
            fairs.get(name.rpartition("/")[2], ""),
        )


def _command(group: Sequence[FinishedRun], seeds: Sequence[int]) -> str:
    """Word the command for these runs, without settings of where they lie and what they show."""
    # Runs that were reproduced, or began in Python, have no overrides, so the longest list counts.
    fullest = max((run.overrides for run in group), key=len)
    given = {text.partition("=")[0]: text for text in fullest if "=" in text}
    known = {"model", "experiment", *Settings.model_fields, *GROUP_NAMES} - {"seed"}
    kept = {
        key: text
        for key, text in given.items()
        if key.partition(".")[0] in known and key not in FREE
    }
    # Whoever repeats it has files and folders elsewhere; labels may be a key of the same file.
    if given.get("dataset.path", "dataset.path=null") != "dataset.path=null":
        kept["dataset.path"] = "dataset.path=PATH"
    if kept.get("dataset.labels", "").lower().rstrip("'\"").endswith(".npy"):
        kept["dataset.labels"] = "dataset.labels=FILE"
    settings = group[0].settings
    if "epochs" in kept:
        # A run may have been trained on since it began.
        kept["epochs"] = f"epochs={settings.epochs}"
    page = "model" if settings.experiment is None else "experiment"
    chosen = kept.pop(page, f"{page}={getattr(settings, page)}")
    many = ["-m"] if len(seeds) > 1 else []
    words = ["sae-train", chosen, *kept.values(), *many, f"seed={','.join(map(str, seeds))}"]
    return shlex.join(words)
