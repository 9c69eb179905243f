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
from sae_cli.compose import CONF, PRIMARY, register_resolvers

if TYPE_CHECKING:
    from sae_cli.config import RunConfig

Task = Callable[[DictConfig], None]


def show(arguments: Arguments) -> None:
    """Hydra's help and the like."""
    _hydra(arguments, lambda configuration: None)


def launch(arguments: Arguments, config: RunConfig, there: set[Path]) -> None:
    """One run, in the folder that Hydra makes for it.

    Args:
        arguments: the command line.
        config: what it asks for.
        there: folders that were there before.

    Raises:
        whatever stops the run; no folder is left behind when nothing was written.
    """
    raised: list[BaseException] = []

    def task(configuration: DictConfig) -> None:
        from sae_cli.train import train

        job = HydraConfig.get()
        path = Path(job.runtime.output_dir)
        try:
            train(config, path, list(job.overrides.task))
        except BaseException as error:
            _remove_empty(path, there)
            # Raised again below: Hydra would print a line of its own first.
            raised.append(error)

    _hydra(arguments, task)
    if raised:
        raise raised[0]


def launch_sweep(arguments: Arguments, configs: Sequence[RunConfig]) -> int:
    """A folder for each job, ``results.csv`` after each, a table at the end.

    Returns:
        how many jobs did not finish.
    """
    from sae_cli.sweep import RESULTS, results_table, varied_keys, write_results
    from sae_cli.tables import short

    finished = 0
    folders: list[Path] = []
    jobs: list[list[str]] = []

    def task(configuration: DictConfig) -> None:
        job = HydraConfig.get()
        number = int(job.job.num)
        path = Path(job.runtime.output_dir)
        jobs.append(list(job.overrides.task))
        print(f"\njob {number + 1} of {len(configs)}: {' '.join(jobs[-1])}", flush=True)
        folders.append(path)
        try:
            _train_job(configs[number], path, jobs[-1])
        finally:
            write_results(folders, configs[0].settings.sort_by)

    try:
        _hydra(arguments, task)
    finally:
        if folders:
            sort_by = configs[0].settings.sort_by
            rows = write_results(folders, sort_by)
            for line in results_table(rows, varied_keys(jobs), sort_by):
                print(line)
            finished = sum(row["status"] == "finished" for row in rows)
            results = short(folders[0].parent / RESULTS)
            print(f"{finished} of {len(configs)} jobs finished; results: {results}")
    return len(configs) - finished


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


def _hydra(arguments: Arguments, task: Task) -> None:
    register_resolvers()
    sys.argv = [sys.argv[0], *arguments.for_hydra]
    hydra.main(config_path=str(CONF), config_name=PRIMARY, version_base="1.3")(task)()


def _remove_empty(path: Path, there: set[Path]) -> None:
    """Remove a run folder that holds nothing, and empty folders above it that are new."""
    for folder in (path.absolute(), *path.absolute().parents):
        if folder in there or any(folder.iterdir()):
            return
        folder.rmdir()
