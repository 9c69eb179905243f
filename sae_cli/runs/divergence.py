"""The error of a training whose numbers are no longer finite, or never were."""

from __future__ import annotations

from sae_cli.assembly.ranges import rescaling
from sae_cli.core.errors import DivergedError
from sae_cli.runs.active_run import ActiveRun
from sae_cli.training.stage import Stage

# Data of this size are often the cause; smaller ones seldom are.
LARGE = 100.0


def divergence(run: ActiveRun, stage: Stage, what: str) -> DivergedError:
    """Word the error of a training that must stop because ``what`` happened."""
    penalised = " or penalty.weight" if stage.objective.penalty is not None else ""
    rescale = rescaling(run.config, run.training.dataset.interval, LARGE)
    return DivergedError(
        f"training diverged: {what}; the last good checkpoint is of step "
        f"{run.progress.saved_step}; {rescale + ', or ' if rescale else ''}"
        f"try a lower {stage.learning_rate_key} (it was {stage.learning_rate:g}){penalised}"
    )


def hopeless(run: ActiveRun, stage: Stage, what: str) -> DivergedError:
    """Word the error of a stage whose loss is not finite with the weights that it begins with.

    No learning rate can mend that; the range of the data, or the weight of a term, can.
    """
    ways = [rescaling(run.config, run.training.dataset.interval, 1.0)]
    # A weight does not mend what is infinite before it is weighted.
    if stage.objective.penalty is not None and "penalty_raw" not in what:
        ways.append("give a lower penalty.weight")
    if stage.below:
        ways.append("train the stages below for less long")
    mend = ", or ".join(filter(None, ways)) or "look at the weights of the terms"
    return DivergedError(
        f"training cannot begin: {what} before the first step, which no learning rate mends; {mend}"
    )
