"""Hands checked configurations to Hydra, which makes the folders and starts the jobs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sae_cli.arguments import Arguments
from sae_cli.compose import CONF, PRIMARY, quoted, register_resolvers

if TYPE_CHECKING:
    from sae_cli.config import RunConfig

Task = Callable[[DictConfig], None]


def show(arguments: Arguments) -> None:
    """Hydra's help and the like."""
    _hydra(arguments, lambda configuration: None)


def launch(arguments: Arguments, config: RunConfig, folder: Path) -> None:
    """One run, in the folder that Hydra makes for it.

    Args:
        arguments: the command line.
        config: what it asks for.
        folder: the run folder, absolute.

    Raises:
        whatever stops the run; no folder is left behind when nothing was written.
    """
    raised: list[BaseException] = []
    there = {path for path in (folder, *folder.parents) if path.exists()}

    def task(configuration: DictConfig) -> None:
        from sae_cli.train import train

        try:
            train(config, folder, list(HydraConfig.get().overrides.task))
        except BaseException as error:
            _remove_empty(folder, there)
            # Raised again below: Hydra would print a line of its own first.
            raised.append(error)

    _hydra(arguments, task, _override("hydra.run.dir", folder))
    if raised:
        raise raised[0]


def launch_sweep(
    arguments: Arguments, configs: Sequence[RunConfig], jobs: Sequence[list[str]], folder: Path
) -> int:
    """A folder for each job, ``results.csv`` after each, a table at the end.

    Everything is gathered from the folders, so that jobs may run in other processes.

    Args:
        arguments: the command line.
        configs: of each job.
        jobs: the overrides of each job.
        folder: the sweep's folder, absolute.

    Returns:
        how many jobs did not finish.
    """
    from sae_cli.sweep import RESULTS, results_table, varied_keys, write_results
    from sae_cli.tables import short

    sort_by = configs[0].settings.sort_by

    def task(configuration: DictConfig) -> None:
        job = HydraConfig.get()
        number = int(job.job.num)
        print(f"\njob {number + 1} of {len(jobs)}: {' '.join(jobs[number])}", flush=True)
        try:
            _train_job(configs[number], Path(job.runtime.output_dir), jobs[number])
        finally:
            write_results(folder, sort_by)

    try:
        _hydra(arguments, task, _override("hydra.sweep.dir", folder))
    finally:
        rows = write_results(folder, sort_by) if folder.is_dir() else []
        finished = len([row for row in rows if row["status"] == "finished"])
        if rows:
            for line in results_table(rows, varied_keys(jobs), sort_by):
                print(line)
            print(f"{finished} of {len(jobs)} jobs finished; results: {short(folder / RESULTS)}")
    return len(jobs) - finished


def _train_job(config: RunConfig, path: Path, overrides: list[str]) -> None:
    """One job; a sweep goes on when it fails. The error is shown at once and stands in its log."""
    from sae_cli.run_folder import RunFolder
    from sae_cli.train import train

    try:
        train(config, path, overrides)
    except Exception as error:
        if not any(path.iterdir()):
            folder = RunFolder(path)
            folder.write_overrides(overrides)
            folder.log(traceback.format_exc())
            folder.set_status("failed", error=str(error))
        print(f"error in job {path.name}: {error}", file=sys.stderr, flush=True)


def _hydra(arguments: Arguments, task: Task, *overrides: str) -> None:
    register_resolvers()
    sys.argv = [sys.argv[0], *arguments.for_hydra, *overrides]
    hydra.main(config_path=str(CONF), config_name=PRIMARY, version_base="1.3")(task)()


def _override(key: str, folder: Path) -> str:
    """The folder that was checked, so that Hydra does not make up another name for it."""
    return f"{key}={quoted(str(folder))}"


def _remove_empty(path: Path, there: set[Path]) -> None:
    """Remove a run folder that holds nothing, and empty folders above it that are new."""
    for folder in (path, *path.parents):
        if folder in there or any(folder.iterdir()):
            return
        folder.rmdir()
