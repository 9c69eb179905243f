"""A sweep or a search that a command line asks for: what runs its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sae_cli.assembly.latents import shares_of
from sae_cli.commands.arguments import Arguments
from sae_cli.commands.launch import launcher_of
from sae_cli.config.asked import Asked
from sae_cli.config.schema import RunConfig
from sae_cli.config.search import settle
from sae_cli.core.errors import ConfigError
from sae_cli.runs.sweeps.running import run_sweep
from sae_cli.runs.sweeps.side_by_side import check_search_alone, launcher_for, threads_for
from sae_cli.runs.sweeps.sweep import Sweep, sweep_of


def begin_sweep(
    asked: Asked, configs: Sequence[RunConfig], folder: Path, arguments: Arguments
) -> int:
    """Run the jobs of a sweep.

    Args:
        configs: those of its jobs, checked.
        folder: free, or that of this very sweep.

    Returns:
        how many jobs did not finish.

    Raises:
        ConfigError: what is asked for does not go together.
    """
    if any(shares_of(config) == "latents" for config in configs):
        raise ConfigError(
            "device.share=latents shares the latents out to several processes, and each job of a "
            "sweep trains in one; give device.share=rows, or train each by itself with torchrun"
        )
    words, together = asked.hydra.launcher, arguments.together
    if asked.search is not None:
        check_search_alone(together)
    chosen = launcher_of(words, arguments.pages, together) if words else None
    sweep = _sweep(asked, configs, folder, together)
    if chosen is not None and chosen.elsewhere and together != "on":
        sweep = replace(sweep, threads=None)
    return run_sweep(sweep, chosen or launcher_for(sweep, together))


def _sweep(asked: Asked, configs: Sequence[RunConfig], folder: Path, together: str) -> Sweep:
    if asked.search is None:
        overrides = [job.overrides for job in asked.runs]
        return sweep_of(folder, overrides, configs, threads_for(together))
    # Optuna is there for searches only.
    from sae_cli.runs.sweeps.searching import search_of

    return search_of(folder, settle(asked.search, asked.runs, configs))
