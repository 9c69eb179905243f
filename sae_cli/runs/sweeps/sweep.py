"""A sweep: its jobs, and ``sweep.yaml``, from which it can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sae_cli.assembly.compute import AVAILABLE_THREADS
from sae_cli.assembly.plugins import record_plugins
from sae_cli.config.folder_names import job_folder
from sae_cli.config.schema import RunConfig
from sae_cli.config.search import Search, read_search
from sae_cli.config.settings import AUTO
from sae_cli.core.differences import diff
from sae_cli.core.errors import ConfigError
from sae_cli.core.text import short
from sae_cli.results.fair import QUALITY
from sae_cli.results.needed_plugins import PLUGINS, needed_by, refuse_changed, require
from sae_cli.results.saved_config import check_saved, with_axes_of
from sae_cli.run_folder.files import write_atomically
from sae_cli.run_folder.layout import MAX_SWEEP_BYTES, SWEEP
from sae_cli.run_folder.plain_yaml import as_yaml, read_yaml

# Optuna's own storage of a search.
DATABASE = "optuna.db"
# No machine has more cores, and the threads of a sweep from a stranger must not fill this one.
MAX_THREADS = 4096


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        folder: its name within the sweep's.
        overrides: what the command line changed for it.
        config: what it comes to.
    """

    folder: str
    overrides: list[str]
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """A sweep's folder and its jobs, in order.

    Attributes:
        jobs: all of them; those of a search are chosen, and added, while it is at work.
        threads: how many a job's long steps take, where its configuration leaves that open; decided
            once, because a launcher's workers may use another number, which gives other bits. None
            if jobs run on machines of their own, and each takes the cores that it has there.
        search: the search that chooses the jobs, if one does.
    """

    path: Path
    jobs: list[Job]
    threads: int | None = AVAILABLE_THREADS
    search: Search | None = None

    @property
    def size(self) -> int:
        """How many jobs there are, or will be."""
        return len(self.jobs) if self.search is None else self.search.options.n_trials

    @property
    def objectives(self) -> list[str]:
        """The metrics that a search makes best."""
        return [] if self.search is None else self.search.objectives

    @property
    def folders(self) -> list[Path]:
        """The folder of each job."""
        return [self.path / job.folder for job in self.jobs]

    @property
    def sort_by(self) -> str:
        """What the table is sorted by: a metric, or ``auto``."""
        given = self.jobs[0].config.settings.sort_by
        return self.objectives[0] if given == AUTO and len(self.objectives) == 1 else given

    @property
    def metric(self) -> str:
        """The one metric that jobs are ranked by, in ``results.csv`` at least."""
        return QUALITY if self.sort_by == AUTO else self.sort_by

    @property
    def quiet(self) -> bool:
        """Whether nothing but errors, warnings and the last line is to be printed."""
        return self.jobs[0].config.settings.quiet

    def changed(self, changes: Mapping[str, Any]) -> Sweep:
        """Give the sweep with other values for these dotted keys of all its jobs."""
        if not changes:
            return self
        jobs = [replace(job, config=job.config.changed(changes)) for job in self.jobs]
        return replace(self, jobs=jobs)

    def write(self) -> None:
        """``sweep.yaml``, from which the sweep can be resumed."""
        content: dict[str, Any] = {} if self.threads is None else {"threads": self.threads}
        if self.search is None:
            content["jobs"] = [_entry(job.overrides, job.config) for job in self.jobs]
        else:
            content["search"] = self.search.as_dict()
            content["bases"] = [_entry(*base) for base in self.search.bases]
            # Their configurations follow, and this is written anew for every job.
            content["jobs"] = [{"overrides": job.overrides} for job in self.jobs]
        # Only a sweep with parts of plug-ins says so.
        if plugins := record_plugins(*(job.config for job in self.jobs)):
            content[PLUGINS] = plugins
        write_atomically(self.path / SWEEP, as_yaml(content))


def _entry(overrides: list[str], config: RunConfig) -> dict[str, Any]:
    return {"overrides": overrides, "config": config.as_dict()}


def job_of(number: int, overrides: list[str], config: RunConfig) -> Job:
    """Make a job, which has a folder of its own name."""
    return Job(job_folder(number, overrides), overrides, config)


def sweep_of(
    path: Path,
    overrides: Sequence[list[str]],
    configs: Sequence[RunConfig],
    threads: int | None = AVAILABLE_THREADS,
) -> Sweep:
    """Make the sweep of these jobs."""
    pairs = enumerate(zip(overrides, configs, strict=True))
    jobs = [job_of(number, given, config) for number, (given, config) in pairs]
    return Sweep(path, jobs, threads)


def read_sweep(path: Path) -> Sweep:
    """Read the sweep in a folder as data; no folder's name is taken from it.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    content = read_yaml(path / SWEEP, MAX_SWEEP_BYTES)
    needed = needed_by(content)
    require(path, needed)
    refuse_changed(needed)
    searched = "search" in content
    try:
        entries = _entries(content["bases" if searched else "jobs"])
        given = [[*map(str, job["overrides"])] for job in content["jobs"]]
        # Earlier versions, too, left the threads to each job.
        threads = content.get("threads", None)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path / SWEEP} is damaged ({error} is not right)") from None
    if not entries or not given:
        raise ConfigError(f"{path / SWEEP} is damaged (it has no jobs)")
    if "threads" in content and not (type(threads) is int and 1 <= threads <= MAX_THREADS):
        raise ConfigError(
            f"{path / SWEEP} is damaged (threads must be a number from 1 to {MAX_THREADS})"
        )
    bases = [(words, check_saved(config)) for words, config in entries]
    if not searched:
        return sweep_of(path, given, [config for _, config in bases], threads)
    try:
        search = read_search(content["search"], bases)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path / SWEEP} is damaged (its search: {reason})") from None
    jobs = [job_of(number, *search.job(search.texts(words))) for number, words in enumerate(given)]
    if [job.overrides for job in jobs] != given:
        raise ConfigError(f"{path / SWEEP} is damaged (its jobs are not of the search)")
    return Sweep(path, jobs, threads, search)


def _entries(listed: Any) -> list[tuple[list[str], dict[str, Any]]]:
    """Read what ``_entry`` gave.

    Raises:
        AttributeError, KeyError, TypeError: it is something else.
    """
    return [([*map(str, entry["overrides"])], {**entry["config"]}) for entry in listed]


def check_same(recorded: Sweep, given: Sweep) -> None:
    """Raise ConfigError unless a folder's sweep is the one that is asked for.

    A search may be given more trials than it had.
    """
    what = f"{short(given.path)} holds another sweep"
    if recorded.search is not None or given.search is not None:
        _check_same_search(recorded, given, what)
        return
    if len(recorded.jobs) != len(given.jobs):
        raise ConfigError(
            f"{what} ({len(recorded.jobs)} jobs, {len(given.jobs)} now); choose another folder"
        )
    for then, now in zip(recorded.jobs, given.jobs, strict=True):
        config = with_axes_of(then.config, now.config)
        differences = diff(then.config.as_dict(), config.as_dict())
        # Its default was another one in earlier versions; where it was given, overrides differ.
        found = [str(one) for one in differences if one.key != "sort_by"]
        if then.overrides != now.overrides or found:
            changed = "; ".join(found) or f"{' '.join(then.overrides)} then"
            raise ConfigError(
                f"{what} (job {then.folder}: {changed}); choose another folder, or resume that "
                f"one: sae-train resume={short(given.path)}"
            )


def _check_same_search(recorded: Sweep, given: Sweep, what: str) -> None:
    if recorded.search is None or given.search is None:
        searched = "a search" if recorded.search is not None else "no search"
        raise ConfigError(f"{what} ({searched}); choose another folder")
    then, now = _searched(recorded.search), _searched(given.search)
    if changed := "; ".join(map(str, diff(then, now))):
        raise ConfigError(
            f"{what} ({changed}); choose another folder, or resume that one: "
            f"sae-train resume={short(given.path)}"
        )
    if given.size < len(recorded.jobs):
        raise ConfigError(
            f"hydra.sweeper.n_trials={given.size}: the search in {short(given.path)} has begun "
            f"{len(recorded.jobs)} jobs; give as many or more"
        )


def _searched(search: Search) -> dict[str, Any]:
    """Give what two searches must share, under names that a person can read."""
    about = search.as_dict()
    del about["options"]["n_trials"]
    numbered = enumerate(search.bases)
    return about | {f"run {i}": {"words": " ".join(w), **c.as_dict()} for i, (w, c) in numbered}
