"""Hands checked configurations to Hydra, which makes the folders and starts the jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sae_cli.commands.arguments import Arguments
from sae_cli.config.compose import CONF, PRIMARY, quoted, register_resolvers

if TYPE_CHECKING:
    from sae_cli.config.schema import RunConfig
    from sae_cli.runs.sweeps.sweep import Sweep

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
        from sae_cli.runs.resume import begin_or_resume

        try:
            begin_or_resume(config, folder, list(HydraConfig.get().overrides.task))
        except BaseException as error:
            _remove_empty(folder, there)
            # Raised again below: Hydra would print a line of its own first.
            raised.append(error)

    _hydra(arguments, task, _override("hydra.run.dir", folder))
    if raised:
        raise raised[0]


def launch_sweep(arguments: Arguments, sweep: Sweep) -> int:
    """The jobs of a sweep in the folders that Hydra makes for them, which may be there already.

    Returns:
        how many jobs did not finish.
    """
    from sae_cli.runs.sweeps.jobs import run_job, run_sweep

    def task(configuration: DictConfig) -> None:
        run_job(sweep, int(HydraConfig.get().job.num))

    def launch_all() -> None:
        _hydra(arguments, task, _override("hydra.sweep.dir", sweep.path))

    return run_sweep(sweep, launch_all)


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
