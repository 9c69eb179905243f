"""Hydra's launchers, which start the jobs of a sweep side by side or on other machines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import final

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig

from sae_cli.config.compose import hydra_ready
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import compose_launcher
from sae_cli.config.typed_text import quote
from sae_cli.runs.sweeps.jobs import Launcher, run_job
from sae_cli.runs.sweeps.sweep import Sweep


@final
class HydraLauncher(Launcher):
    """A launcher that is chosen with ``hydra/launcher=NAME``.

    Args:
        words: the overrides that choose it and set its options.
        pages: the user's own folder of pages, if any.
    """

    def __init__(self, words: Sequence[str], pages: Path | None) -> None:
        self._words = words
        self._pages = pages

    def launch(self, sweep: Sweep) -> None:
        """Run every job."""
        with hydra_ready(self._pages) as hydra:
            folder = f"hydra.sweep.dir={quote(str(sweep.path))}"
            with explain_errors():
                launcher = Plugins.instance().instantiate_launcher(
                    hydra_context=HydraContext(hydra.config_loader, Callbacks()),
                    task_function=partial(_run, sweep),
                    config=compose_launcher([*self._words, folder]),
                )
            # Hydra composes nothing for a job but its number.
            jobs = [[f"+job={number}"] for number in range(len(sweep.jobs))]
            for done in launcher.launch(jobs, initial_job_idx=0):
                # Reading the value raises what the job has raised.
                _ = done.return_value


def _run(sweep: Sweep, config: DictConfig) -> None:
    run_job(sweep, int(config.job))
