"""The jobs of a search as Optuna's trials: what it is told of them, and what it answers.

Optuna is given the jobs that have ended anew each time, with a sampler of the job's own seed. The
values of a job therefore depend on the command and on the jobs before it, and on nothing else: a
search that is killed and resumed makes the same jobs as one that never was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sae_cli.config.search import Search
from sae_cli.config.search_space import Dimension, Numbers
from sae_cli.core.errors import ConfigError, Pruned
from sae_cli.core.text import number as worded
from sae_cli.run_folder.layout import read_metrics, read_summary, status_of
from sae_cli.runs.sweeps.sweep import Job, Sweep, job_of
from sae_cli.training.better import higher_is_better

# Optuna's own lines would stand between those of the jobs.
optuna.logging.set_verbosity(optuna.logging.ERROR)


def direction(objective: str) -> StudyDirection:
    """Say which values of a metric are better, as Optuna does."""
    return StudyDirection.MAXIMIZE if higher_is_better(objective) else StudyDirection.MINIMIZE


def next_job(search: Search, number: int, ended: Sequence[FrozenTrial]) -> Job:
    """Choose the values of a job.

    Args:
        number: of the job.
        ended: the trials of the jobs before its batch.

    Raises:
        ConfigError: the values do not go together with each other.
    """
    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if search.options.sampler == "random":
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed)
    else:
        start = search.options.n_startup_trials
        sampler = optuna.samplers.TPESampler(n_startup_trials=start, seed=seed)
    study = _study(search, ended, sampler=sampler)
    chosen = study.ask(_distributions(search)).params
    texts = {
        one.key: one.text(chosen[one.key]) if isinstance(one, Numbers) else chosen[one.key]
        for one in search.dimensions
    }
    return job_of(number, *search.job(texts))


def trial_of(sweep: Sweep, search: Search, number: int) -> FrozenTrial:
    """Give what a job has come to.

    A job that did not finish, or that has no value of an objective, has failed.

    Raises:
        ConfigError: its overrides are not those of a job of this search, or its folder is damaged.
    """
    job = sweep.jobs[number]
    texts = search.texts(job.overrides)
    params = {
        one.key: one.value(texts[one.key]) if isinstance(one, Numbers) else texts[one.key]
        for one in search.dimensions
    }
    path = sweep.path / job.folder
    status, values = status_of(path), None
    if status == "finished":
        summary = read_summary(path)
        found = [summary.get(name) for name in search.objectives]
        values = [float(value) for value in found if value is not None]
        status = status if len(values) == len(found) else "failed"
    states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    state = states.get(status, TrialState.FAIL)
    one = search.objectives[0] if len(search.objectives) == 1 else None
    return create_trial(
        state=state,
        values=values if state is TrialState.COMPLETE else None,
        params=params,
        distributions=_distributions(search),
        user_attrs={"job": job.folder},
        intermediate_values=_by_epoch(read_metrics(path), one) if one and _began(status) else {},
    )


def _began(status: str) -> bool:
    return status in {"finished", "pruned"}


@final
class Median:
    """Watches a job: after an epoch at which it is worse than the median before, it is pruned."""

    def __init__(self, sweep: Sweep, search: Search, number: int) -> None:
        first = number - number % search.options.n_jobs
        ended = [trial_of(sweep, search, one) for one in range(first)]
        pruner = optuna.pruners.MedianPruner(n_startup_trials=search.options.n_startup_trials)
        self._trial = _study(search, ended, pruner=pruner).ask()
        self._objective = search.objectives[0]
        self._reported: set[int] = set()

    def __call__(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Tell the values of a job so far; raise ``Pruned`` if the last one is not good enough."""
        found = _by_epoch(lines, self._objective)
        for epoch in found.keys() - self._reported:
            self._trial.report(found[epoch], epoch)
        self._reported |= found.keys()
        if found and self._trial.should_prune():
            last = max(found)
            raise Pruned(
                f"pruned after epoch {last}: {self._objective} {worded(found[last])} is worse than "
                "the median of the jobs before"
            )


def _by_epoch(lines: Iterable[Mapping[str, Any]], objective: str) -> dict[int, float]:
    """Give the values of an objective after each epoch; untrained weights say nothing."""
    found: dict[int, float] = {}
    for line in lines:
        epoch, value = line.get("epoch"), line.get(objective)
        if isinstance(epoch, int) and epoch > 0 and isinstance(value, int | float):
            found.setdefault(epoch, float(value))
    return {epoch: value for epoch, value in found.items() if math.isfinite(value)}


def _study(
    search: Search,
    ended: Sequence[FrozenTrial],
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    study = optuna.create_study(
        directions=[direction(name) for name in search.objectives],
        sampler=sampler or optuna.samplers.RandomSampler(0),
        pruner=pruner or optuna.pruners.NopPruner(),
    )
    study.add_trials(ended)
    return study


def _distributions(search: Search) -> dict[str, BaseDistribution]:
    return {one.key: _distribution(one) for one in search.dimensions}


def _distribution(one: Dimension) -> BaseDistribution:
    if not isinstance(one, Numbers):
        return CategoricalDistribution(one.texts)
    if one.whole:
        step = 1 if one.step is None else int(one.step)
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=step)
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)


def check_objectives(trials: Sequence[FrozenTrial], sweep: Sweep, search: Search) -> None:
    """Raise ConfigError if jobs finish without a metric that is an objective."""
    for trial, job in zip(trials, sweep.jobs, strict=False):
        path = sweep.path / job.folder
        if trial.state is not TrialState.FAIL or status_of(path) != "finished":
            continue
        if lacking := [name for name in search.objectives if name not in read_summary(path)]:
            raise ConfigError(
                f"objective={lacking[0]}: {job.folder} has finished without it, so nothing can be "
                "searched; begin anew with a metric that its results.csv has"
            )
