"""A sweep from its beginning, or from where it was stopped, to its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sae_cli.config.search_space import check_installed
from sae_cli.config.settings import PRINTING
from sae_cli.core.errors import ConfigError, Stopped
from sae_cli.core.text import say, short
from sae_cli.results.tables import terminal_width
from sae_cli.run_folder.files import refuse_link, remove_temporaries
from sae_cli.run_folder.layout import SWEEP, holds_sweep, resume_command
from sae_cli.run_folder.lock import lock
from sae_cli.runs.reporting import report_sweep
from sae_cli.runs.sweeps.jobs import Launcher, OneByOne
from sae_cli.runs.sweeps.results import (
    RESULTS,
    failure_notes,
    varied_keys,
    write_results,
)
from sae_cli.runs.sweeps.results_table import results_table
from sae_cli.runs.sweeps.sweep import DATABASE, Sweep, check_same, read_sweep
from sae_cli.trackers.tracker import outside


def resume_sweep(
    path: Path,
    changes: Mapping[str, Any] = MappingProxyType({}),
    launcher_for: Callable[[Sweep], Launcher] = lambda sweep: OneByOne(),
) -> int:
    """Resume a sweep from its folder.

    Args:
        changes: new values for settings of ``PRINTING``, for all jobs.
        launcher_for: chooses how its jobs run.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: another setting is given, the folder is damaged, or its trackers lead out of
            the folder of all runs.
        InUseError, Stopped: as ``run_sweep``.
    """
    for key in changes:
        if key not in PRINTING:
            raise ConfigError(
                f"{key}: a sweep is resumed as it was; with resume= only {', '.join(PRINTING)} can "
                "be given"
            )
    sweep = read_sweep(path)
    configs = [job.config for job in sweep.jobs]
    if sweep.search is not None:
        check_installed()
        configs += [config for _, config in sweep.search.bases]
    for name, options in ((n, o) for one in configs for n, o in one.settings.logger.items()):
        # Only the command line may ask for these, because a folder may come from anyone.
        if (option := outside(name, options)) is not None:
            raise ConfigError(
                f"logger.{name}.{option}={options[option]} of a folder is not followed; resume the "
                f"sweep by the command that began it, with hydra.sweep.dir={short(path)}"
            )
    return run_sweep(sweep, launcher_for(sweep), changes)


def run_sweep(
    sweep: Sweep, launcher: Launcher, changes: Mapping[str, Any] = MappingProxyType({})
) -> int:
    """Run every job, and show a table of their results, which are in ``results.csv`` as well.

    Everything is gathered from the folders, so that jobs may run in other processes.

    Args:
        changes: as for ``resume_sweep``.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: the folder holds something else.
        InUseError: another process is at work in it.
        Stopped: a signal asked to; the sweep can be resumed.
    """
    with lock(sweep.path):
        for name in (SWEEP, RESULTS, DATABASE, *(job.folder for job in sweep.jobs)):
            refuse_link(sweep.path / name)
        remove_temporaries(sweep.path)
        if holds_sweep(sweep.path):
            recorded = read_sweep(sweep.path)
            check_same(recorded, sweep)
            # A search may be given more trials.
            sweep = replace(recorded, search=sweep.search)
        else:
            sweep.write()
        sweep = sweep.changed(changes)
        write_results(sweep)
        try:
            _launch(sweep, launcher)
        except Stopped as stopped:
            hint = f"{launcher.left(sweep)} resume with: {resume_command(sweep.path)}"
            raise Stopped(stopped.number, hint) from None
        finally:
            rows = write_results(sweep)
            varied = varied_keys([job.overrides for job in sweep.jobs])
            shown = [] if sweep.quiet else results_table(sweep, rows, varied, terminal_width())
            for line in shown:
                say(line)
            for line in failure_notes(sweep, rows):
                say(line)
            left = sweep.size - sum(row["status"] in ("finished", "pruned") for row in rows)
            say(f"{_how_many(sweep, rows)}; results: {short(sweep.path / RESULTS)}")
        if sweep.jobs[0].config.settings.report:
            report_sweep(sweep.path, say)
    if left:
        say(f"resume with: {resume_command(sweep.path)}")
    return left


def _launch(sweep: Sweep, launcher: Launcher) -> None:
    if sweep.search is None:
        launcher.launch(sweep, range(len(sweep.jobs)))
        return
    # Optuna is there for searches only.
    from sae_cli.runs.sweeps.searching import run_search

    run_search(sweep, sweep.search, partial(launcher.launch, sweep))


def _how_many(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many jobs have finished, and how many a search has pruned."""
    found = Counter(row["status"] for row in rows)
    pruned = f", {found['pruned']} pruned" if found["pruned"] else ""
    return f"{found['finished']} of {sweep.size} jobs finished{pruned}"
