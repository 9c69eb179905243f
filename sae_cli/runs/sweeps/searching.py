"""A search at work: jobs are chosen in batches, run as those of any sweep, and told to Optuna.

The folder is what holds: ``sweep.yaml`` the jobs that were chosen, and each job's folder what it
has come to. ``optuna.db`` is written from them, for Optuna's own tools, and is never read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import final

from optuna import create_study, load_study
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from sae_cli.config.search import Search
from sae_cli.core.text import say
from sae_cli.runs.sweeps.sweep import DATABASE, Sweep
from sae_cli.runs.sweeps.trials import check_objectives, direction, next_job, trial_of

STUDY = "search"


def search_of(path: Path, search: Search) -> Sweep:
    """Make the sweep of a search, with its first job."""
    return Sweep(path, [next_job(search, 0, [])], search=search)


def run_search(sweep: Sweep, search: Search, launch: Callable[[Sequence[int]], None]) -> None:
    """Choose and run the jobs of a search, batch by batch; those that were chosen stay.

    Args:
        launch: runs the jobs of these numbers, unless they have ended.

    Raises:
        ConfigError: the folder is damaged, or the jobs lack a metric that is an objective.
        Stopped: a signal asked to.
    """
    n, at_a_time = search.options.n_trials, search.options.n_jobs
    ended: list[FrozenTrial] = []
    with closing(_Storage(sweep.path / DATABASE, search)) as storage:
        for first in range(0, n, at_a_time):
            numbers = range(first, min(first + at_a_time, n))
            new = [next_job(search, one, ended) for one in numbers[len(sweep.jobs) - first :]]
            if new:
                sweep.jobs.extend(new)
                sweep.write()
            launch(numbers)
            batch = [trial_of(sweep, search, number) for number in numbers]
            storage.add(batch)
            ended += batch
            check_objectives(ended, sweep, search)


@final
class _Storage:
    """A study of Optuna's in a file of SQLite's, made anew; what is wrong with it ends nothing."""

    def __init__(self, path: Path, search: Search) -> None:
        self._path = path
        self._search = search
        self._storage: RDBStorage | None = None
        # A journal that was left behind would be applied to the new file.
        for old in (path, path.with_name(f"{path.name}-journal")):
            old.unlink(missing_ok=True)

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Add trials; their numbers go on from those before."""
        try:
            if self._storage is None:
                # A path has letters that mean something in the name of a database.
                connect = {"creator": partial(sqlite3.connect, self._path)}
                self._storage = RDBStorage("sqlite://", engine_kwargs=connect)
                create_study(
                    storage=self._storage,
                    study_name=STUDY,
                    directions=[direction(name) for name in self._search.objectives],
                ).set_user_attr("objectives", self._search.objectives)
            load_study(study_name=STUDY, storage=self._storage).add_trials(trials)
        except (StorageInternalError, SQLAlchemyError) as error:
            reason = str(error.__cause__ or error).partition("\n")[0]
            say(f"{self._path.name} is not whole: {reason}; resuming the search writes it anew")

    def close(self) -> None:
        """Close the file."""
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
