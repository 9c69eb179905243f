"""How far jobs are that train side by side: models times epochs, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, final

from sae_cli.config.schema import RunConfig
from sae_cli.core.bar import Bar
from sae_cli.core.text import counted, duration, say
from sae_cli.run_folder.layout import METRICS
from sae_cli.runs.sweeps.standing import ENDED, best_so_far
from sae_cli.runs.sweeps.sweep import Sweep

BAR = "{desc} {percentage:3.0f}%|{bar}|"


@final
class Pace:
    """The pace of a sweep since it was begun or resumed: a bar on a terminal, or lines.

    Args:
        sweep: with ``rows``, as ``write_results`` gives them.
    """

    def __init__(self, sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> None:
        self._sweep = sweep
        self._total = sum(epochs_of(job.config) for job in sweep.jobs)
        self._begun_at, self._begun = time.monotonic(), self._count(rows)
        self._said: list[str] = []
        settings = sweep.jobs[0].config.settings
        self._bar = Bar(
            total=self._total,
            initial=self._begun,
            desc=counted(len(sweep.jobs), "job"),
            bar_format=BAR,
            dynamic_ncols=True,
            leave=False,
            disable=settings.quiet or not settings.progress or not sys.stderr.isatty(),
        )

    def tell(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show how far the jobs are."""
        done = self._count(rows)
        parts = [f"{len(_ended(rows))} of {counted(len(rows), 'job')} done"]
        parts += [f"epoch {done} of {self._total}", *best_so_far(self._sweep, rows)]
        if failed := len([row for row in rows if row["status"] == "failed"]):
            parts.append(f"{failed} failed")
        if done == self._total:
            parts.append("evaluating and drawing")
        elif done > self._begun:
            pace = (time.monotonic() - self._begun_at) / (done - self._begun)
            parts.append(f"about {duration(pace * (self._total - done))} of training left")
        if not self._bar.disable:
            words = [counted(len(rows), "job"), *parts[2:]]
            self._bar.set_description_str("; ".join(words), refresh=False)
            self._bar.update(done - self._bar.n)
            self._bar.refresh()
        elif not self._sweep.quiet and parts != self._said:
            say("; ".join(parts))
        self._said = parts

    def end(self) -> None:
        """Remove the bar."""
        self._bar.close()

    def _count(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Count the epochs that are done; all of a job that has ended."""
        ended = {row["job"] for row in _ended(rows)}
        return sum(
            epochs_of(job.config)
            if job.folder in ended
            else self._epochs_done(job.folder, job.config)
            for job in self._sweep.jobs
        )

    def _epochs_done(self, folder: str, config: RunConfig) -> int:
        try:
            lines = (self._sweep.path / folder / METRICS).read_bytes().count(b"\n")
        except OSError:
            return 0
        # The first line is of the weights before training.
        return min(max(lines - 1, 0), epochs_of(config))


def _ended(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["status"] in ENDED]


def epochs_of(config: RunConfig) -> int:
    """How many epochs a run has, over all stages; about as many, if parts are of a plug-in."""
    schedule, head = config.parts["schedule"], config.parts["head"]
    own = 0 if schedule["name"] == "none" else config.settings.epochs
    layers: list[int] = schedule.get("layer_epochs", [])
    if len(layers) == 1:
        layers = layers * _n_layers(config.parts["architecture"])
    of_head: int = head.get("epochs", 0) + head.get("fine_tune_epochs", 0)
    return own + sum(layers) + of_head


def _n_layers(architecture: Mapping[str, Any]) -> int:
    channels: list[int] = architecture.get("channels", [])
    return len(channels) or 1 + len(architecture.get("hidden_sizes", []))
