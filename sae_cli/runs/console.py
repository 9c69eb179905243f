"""The output of a run while it trains: a bar, and a line for each epoch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from sae_cli.core.bar import Bar
from sae_cli.core.errors import in_one_line
from sae_cli.core.text import duration, number
from sae_cli.model.objective import Terms

# tqdm gives the bar what is left of the terminal's width.
BAR = "{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}"


@dataclass(frozen=True)
class Saying:
    """How much a run says, while train.log gets all.

    Attributes:
        bar: show a progress bar where the standard error is a terminal.
        every: epochs from one line of metrics to the next.
        steps: steps from one line to the next where there is no bar, or None.
        quiet: print nothing but warnings and the last line.
        last: print that, too.
    """

    bar: bool = True
    every: int = 1
    steps: int | None = None
    quiet: bool = False
    last: bool = True


@dataclass
class _Place:
    """Where in a stage a run is.

    Attributes:
        first, last: epochs before the stage and at its end, counted over all stages.
        n, total: steps of the stage, done and in all.
        begun, begun_at: the steps that were done when this process began it, and when that was.
    """

    stage: str
    first: int
    last: int
    steps_per_epoch: int
    n: int
    total: int
    begun: int
    begun_at: float

    @property
    def epoch(self) -> str:
        """The epoch at work, of how many."""
        number = min(self.first + self.n // self.steps_per_epoch + 1, self.last)
        return f"{self.stage}  epoch {number:{len(str(self.last))}d}/{self.last}".lstrip()

    @property
    def left(self) -> str:
        """The time that the steps to come will take, at the pace of those before."""
        pace = (time.monotonic() - self.begun_at) / max(1, self.n - self.begun)
        return f"{duration(pace * (self.total - self.n))} left"


@final
class Console:
    """The lines and the bar of a run; each line goes to the standard output and to ``log``.

    Args:
        log: keeps a line.
        saying: how much is shown.
        several_stages: name the stage of each line of metrics.
        target: the mean activity that the penalty draws each latent to, or None.
        of_codes: the metrics that say how the codes are used, and a name for each.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        saying: Saying,
        several_stages: bool,
        target: float | None = None,
        of_codes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._log = log
        self._saying = saying
        self._show = saying.bar and not saying.quiet and sys.stderr.isatty()
        self._several_stages = several_stages
        self._target = target
        self._of_codes = of_codes
        self._bar: Bar | None = None
        self._place: _Place | None = None

    def say(self, *lines: str) -> None:
        """Print lines above the bar, and log them, made harmless as by ``core.text.say``."""
        if lines:
            self._say(lines, not self._saying.quiet)

    def warn(self, line: str) -> None:
        """Say a line of something that has failed beside the run; a quiet run says it, too."""
        self._say([line], True)

    def conclude(self, line: str) -> None:
        """Say the last line."""
        self._say([line], self._saying.last)

    def _say(self, lines: Sequence[str], shown: bool) -> None:
        text = "\n".join(map(in_one_line, lines))
        self._log(text)
        if not shown:
            return
        try:
            Bar.write(text, file=sys.stdout)
            sys.stdout.flush()
        except OSError:
            # The reader (`| head`, a terminal) has gone, or its disk is full; the run continues.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def show_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Say the main metrics of a line of ``metrics.jsonl``, if it is one to show."""
        epoch, place = metrics["epoch"], self._place
        last = 0 if place is None else place.last
        if place is not None and epoch not in {place.first, last} and epoch % self._saying.every:
            return
        stage = metrics["stage"] if self._several_stages else ""
        self.say(epoch_line(stage, epoch, last, metrics, self._of_codes, self._target))

    def begin(
        self, stage: str, steps_per_epoch: int, epochs: int, *, first: int = 0, done: int = 0
    ) -> None:
        """Begin a bar for a stage.

        Args:
            first: epochs of the stages before.
            done: steps of the stage that were done before this process resumed it.
        """
        self.end()
        shown = stage if self._several_stages else ""
        total = steps_per_epoch * epochs
        self._place = _Place(
            shown, first, first + epochs, steps_per_epoch, done, total, done, time.monotonic()
        )
        self._bar = Bar(
            total=total,
            initial=done,
            desc=self._place.epoch,
            bar_format=BAR,
            dynamic_ncols=True,
            leave=False,
            disable=not self._show,
        )

    def free_steps(self) -> int:
        """How many steps may go on before one has a line of its own."""
        place, every = self._place, self._saying.steps
        if place is None or self._show or every is None:
            return sys.maxsize
        return every - place.n % every

    def step(self, terms: Terms, n: int = 1) -> None:
        """Advance by steps; terms are read from the device only when something is shown."""
        place = self._place
        if place is None:
            return
        place.n += n
        if self._show:
            self._draw(place, terms, n)
        elif self._saying.steps is not None and place.n % self._saying.steps == 0:
            steps = f"step {place.n}/{place.total}"
            self.say(f"{place.epoch}  {steps}  {_loss(terms)}  {place.left}")

    def _draw(self, place: _Place, terms: Terms, n: int) -> None:
        try:
            if self._bar is not None:
                if place.n % place.steps_per_epoch == 0:
                    self._bar.set_description_str(place.epoch, refresh=False)
                if self._bar.update(n):
                    self._bar.set_postfix_str(_loss(terms), refresh=False)
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


def _loss(terms: Terms) -> str:
    return f"loss {float(terms['loss'].detach()):.4f}"


def epoch_line(
    stage: str,
    epoch: int,
    last: int,
    metrics: Mapping[str, Any],
    of_codes: Mapping[str, str],
    target: float | None = None,
) -> str:
    """Word one evaluation: ``epoch  3/10  train loss ...  val loss ...``.

    Args:
        stage: shown before the epoch; empty for a run of one stage.
        epoch, last: epochs done so far, and at the end of the stage.
        metrics: by name.
        of_codes: as for ``Console``.
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
        *of_codes.items(),
    ):
        if key in metrics:
            shown.append(f"{label} {number(metrics[key])}")
        elif key == "train/loss":
            shown.append(f"{label} {'-':>6}")
    if target is not None and "val/penalty" in metrics:
        shown.append(f"mean activity {number(metrics['val/mean_activity'])} (target {target:g})")
    return "  ".join(shown)
