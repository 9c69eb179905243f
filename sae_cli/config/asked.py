"""The runs that a command line asks for, composed, and its words for Hydra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sae_cli.config.compose import compose_run, hydra_ready, read_words
from sae_cli.config.composed import Composed
from sae_cli.config.hydra_errors import explain_errors
from sae_cli.config.hydra_settings import HydraWords, compose_launcher
from sae_cli.config.search_space import check_installed
from sae_cli.config.search_words import SearchWords


@dataclass(frozen=True)
class Asked:
    """All that a command line asks for.

    Attributes:
        runs: the one run, or each job of a sweep; of a search those that check it.
        hydra: its words for Hydra.
        search: the search, if it asks for one.
    """

    runs: list[Composed]
    hydra: HydraWords
    search: SearchWords | None


def read(
    words: Sequence[str],
    *,
    multirun: bool,
    pages: Path | None,
    announce: Callable[[int], None] = lambda n_jobs: None,
) -> Asked:
    """Compose every run that the words of a command line ask for.

    Args:
        words: ``key=value`` and the like.
        multirun: whether they ask for a sweep.
        pages: the user's own folder of pages, absolute.
        announce: told the number of runs before they are composed, which may take seconds.

    Raises:
        ConfigError: on the first fault.
    """
    with hydra_ready(pages):
        with explain_errors():
            jobs, hydra, search = read_words(words, multirun)
        announce(len(jobs))
        runs = []
        for job in jobs:
            with explain_errors(job, multirun=multirun):
                runs.append(compose_run(job))
        if hydra.launcher:
            with explain_errors():
                compose_launcher(hydra.launcher)
    if search is not None:
        check_installed()
    return Asked(runs, hydra, search)
