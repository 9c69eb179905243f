"""What a command line asks for: its runs, composed, and what it tells Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sae_cli.config.compose import composed, hydra_ready, read_words
from sae_cli.config.composed import Composed
from sae_cli.config.hydra_errors import explained
from sae_cli.config.hydra_settings import HydraWords, launching


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes:
        runs: the one run, or each job of a sweep.
        hydra: what it tells Hydra.
    """

    runs: list[Composed]
    hydra: HydraWords


def read(words: Sequence[str], *, multirun: bool, pages: Path | None) -> Asked:
    """Compose every run that the words of a command line ask for.

    Args:
        words: ``key=value`` and the like.
        multirun: whether they ask for a sweep.
        pages: the user's own folder of pages, absolute.

    Raises:
        ConfigError: on the first fault.
    """
    with hydra_ready(pages):
        with explained():
            jobs, hydra = read_words(words, multirun)
        runs = []
        for job in jobs:
            with explained(job):
                runs.append(composed(job))
        if hydra.launcher:
            with explained():
                launching(hydra.launcher)
    return Asked(runs, hydra)
