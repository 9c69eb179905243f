"""The output of a run while it trains: a bar, and a line for each epoch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, final

from sae_cli.core.bar import Bar
from sae_cli.core.errors import in_one_line
from sae_cli.core.text import number
from sae_cli.model.objective import Terms


@final
class Console:
    """The lines and the bar of a run; each line goes to the standard output and to ``log``.

    Args:
        log: keeps a line.
        bar: show a progress bar where the standard error is a terminal.
        several_stages: name the stage of each line of metrics.
        target: the mean activity that the penalty draws each latent to, or None.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        bar: bool,
        several_stages: bool,
        target: float | None = None,
    ) -> None:
        self._log = log
        self._show = bar and sys.stderr.isatty()
        self._several_stages = several_stages
        self._target = target
        self._bar: Bar | None = None
        self._last_epoch = 0

    def say(self, *lines: str) -> None:
        """Print lines above the bar, and log them, made harmless as by ``core.text.say``."""
        if not lines:
            return
        text = "\n".join(map(in_one_line, lines))
        self._log(text)
        try:
            Bar.write(text, file=sys.stdout)
            sys.stdout.flush()
        except OSError:
            # The reader (`| head`, a terminal) has gone, or its disk is full; the run continues.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Say the main metrics of a line of ``metrics.jsonl``."""
        stage = metrics["stage"] if self._several_stages else ""
        self.say(epoch_line(stage, metrics["epoch"], self._last_epoch, metrics, self._target))

    def begin(self, stage: str, steps: int, last_epoch: int) -> None:
        """Begin a bar for a stage.

        Args:
            steps: of the stage.
            last_epoch: at the end of the stage, counted over all stages.
        """
        self.end()
        self._last_epoch = last_epoch
        self._bar = Bar(total=steps, desc=stage, unit="step", leave=False, disable=not self._show)

    def step(self, terms: Terms) -> None:
        """Advance the bar by a step; terms are read from the device only when it is redrawn."""
        try:
            if self._bar is not None and self._bar.update():
                shown = "  ".join(
                    f"{name} {float(value.detach()):.4f}" for name, value in terms.items()
                )
                self._bar.set_postfix_str(shown, refresh=False)
        except OSError:
            self._drop_bar()

    def end(self) -> None:
        """Remove the bar."""
        try:
            if self._bar is not None:
                self._bar.close()
                self._bar = None
        except OSError:
            self._drop_bar()

    def _drop_bar(self) -> None:
        """Give up the bar of a terminal that has gone; the run continues."""
        if self._bar is not None:
            self._bar.disable = True
        self._bar, self._show = None, False


def epoch_line(
    stage: str, epoch: int, last: int, metrics: Mapping[str, Any], target: float | None = None
) -> str:
    """Word one evaluation: ``epoch  3/10  train loss ...  val loss ...``.

    Args:
        stage: shown before the epoch; empty for a run of one stage.
        epoch, last: epochs done so far, and at the end of the stage.
        metrics: by name.
        target: the mean activity that the penalty draws each latent to, or None.
    """
    width = len(str(last))
    shown = [f"{stage}  epoch {epoch:{width}d}/{last}".lstrip()]
    for key, label in (
        ("train/loss", "train loss"),
        ("val/loss", "val loss"),
        ("val/reconstruction", "reconstruction"),
        ("val/penalty", "penalty"),
        ("val/prediction", "prediction"),
        ("val/head", "head"),
        ("val/accuracy", "accuracy"),
        ("val/fvu", "fvu"),
        ("val/l0", "l0"),
        ("val/dead_latents", "dead"),
    ):
        if key in metrics:
            shown.append(f"{label} {number(metrics[key])}")
        elif key == "train/loss":
            shown.append(f"{label} {'-':>6}")
    if target is not None and "val/penalty" in metrics:
        shown.append(f"mean activity {number(metrics['val/mean_activity'])} (target {target:g})")
    return "  ".join(shown)
