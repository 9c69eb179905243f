"""Words at the end of a run: figures that say a training went wrong, and what to try.

A figure that is as it should be for some model is not said of that model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sae_cli.assembly.latents import shares_of
from sae_cli.assembly.look_notes import FAR_MEAN
from sae_cli.assembly.revival_notes import never_reviving
from sae_cli.assembly.stages import Training
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError
from sae_cli.datasets.look import Look
from sae_cli.model.activations.topk import BatchTopK, TopK
from sae_cli.training.optimizers.lbfgs import iterations_of
from sae_cli.training.revivals.revival import check_pre_codes
from sae_cli.training.stage import Stage

# Larger shares of dead latents are said.
MANY_DEAD = 0.1
# A loss that falls by more than this over the last tenth of the epochs would fall on.
FALLING, LAST = 0.02, 0.1
# In fewer epochs every loss falls.
FEWEST_EPOCHS = 5
# A loss that was higher than its lowest by more than this in each of the last fifth of the epochs
# has not risen by chance.
RISEN, LONG = 0.03, 0.2
# More active codes than were asked for, by this share, are said.
MORE = 0.25
# A penalty of a smaller share of the loss moves nothing.
FAINT = 1e-3

Lines = Sequence[Mapping[str, Any]]


def closing_notes(
    config: RunConfig,
    training: Training,
    look: Look | None,
    lines: Lines,
    final: Mapping[str, Any],
    resume: str | None,
) -> list[str]:
    """Say what a finished training is likely to suffer from, one line each.

    Args:
        look: at the training examples, where these are flat numbers.
        lines: of ``metrics.jsonl``.
        final: the closing metrics; None in place of one without a value.
        resume: the command that resumes the run; None for a job of a sweep, which is not extended
            by itself.
    """
    own = [stage for stage in training.stages if stage.objective.head is None]
    found = [
        *never_reviving(config, training, final),
        *_dead(config, training, look, final),
        *_poor(config, training, look, final),
        *(_falling(config, training, own[-1], lines, resume) if own else ()),
        *_overfitting(config, training, lines),
        *_without_effect(config, training, lines, final),
        *_more_active(training, final),
    ]
    return [f"note: {line}" for line in found]


def _dead(
    config: RunConfig, training: Training, look: Look | None, final: Mapping[str, Any]
) -> Iterator[str]:
    model = training.autoencoder
    # Latents of a map see one place of an image each, and where all images are dark they are dead.
    if not _has_exact_zeros(training) or len(model.code_shape) > 1:
        return
    dead = int(final["train/dead_latents"])
    if dead > MANY_DEAD * model.n_latents:
        ways = [*_centring(config, look), *_reviving(config, training)]
        ways += ["a smaller optimizer.learning_rate"]
        yield (
            f"{dead} of {model.n_latents} latents are dead, because no training example activates "
            f"them: try {_one_of([*ways, *_less_penalty(config)])}"
        )


def _has_exact_zeros(training: Training) -> bool:
    """Whether codes come from an encoder whose zeros are exact, so that a dead latent is dead."""
    model = training.autoencoder
    activation = model.activation
    return activation.active_above == 0.0 and not activation.samples and model.infer is None


def _poor(
    config: RunConfig, training: Training, look: Look | None, final: Mapping[str, Any]
) -> Iterator[str]:
    fvu = final["val/fvu"]
    if fvu is not None and 1.0 <= fvu < math.inf and _reconstructs(training):
        ways = [*_centring(config, look), "more epochs", "another optimizer.learning_rate"]
        yield (
            f"val/fvu is {fvu:.3g}, and the mean of the examples in place of each would have 1: "
            f"try {_one_of([*ways, *_less_penalty(config)])}"
        )


def _reconstructs(training: Training) -> bool:
    """Whether the auto-encoder was trained to reconstruct, and to classify alone never after."""
    own = {id(parameter) for parameter in training.autoencoder.parameters()}
    moved = [
        stage
        for stage in training.stages
        if stage.trained is None or any(id(parameter) in own for parameter in stage.trained)
    ]
    return bool(moved) and moved[-1].objective.reconstruction is not None


def _falling(
    config: RunConfig, training: Training, stage: Stage, lines: Lines, resume: str | None
) -> Iterator[str]:
    losses = [line["val/loss"] for line in lines if line["stage"] == stage.name]
    epochs = len(losses) - 1
    # A weight that is tuned moves the loss by itself.
    if epochs < FEWEST_EPOCHS or config.parts["penalty"].get("target_l0") is not None:
        return
    last = max(1, round(LAST * epochs))
    # One epoch that was worse than those before it makes no loss that falls.
    before = min(losses[:-last])
    if 0.0 < losses[-1] < (1.0 - FALLING) * before:
        constant = config.parts["lr_schedule"]["name"] == "constant"
        extended = constant and len(training.stages) == 1 and resume is not None
        how = f" ({resume} epochs={2 * epochs} trains on)" if extended else ""
        within = "the last epoch" if last == 1 else f"the last {last} of {epochs} epochs"
        yield (
            f"the validation loss still fell by {1.0 - losses[-1] / before:.1%} in {within}: try "
            f"more epochs{how}"
        )


def _overfitting(config: RunConfig, training: Training, lines: Lines) -> Iterator[str]:
    """Say that the loss of validation has risen while that of training fell.

    Classes are left out: their error may fall while their loss rises.
    """
    stage = training.stages[-1]
    own = [line for line in lines if line["stage"] == stage.name and "train/loss" in line]
    if stage.objective.head is not None or len(own) < FEWEST_EPOCHS:
        return
    of_stage = (line for line in lines if line["stage"] == stage.name)
    best = min(of_stage, key=lambda line: line["val/loss"])
    since = min(line["val/loss"] for line in own[-max(2, round(LONG * len(own))) :])
    # Before its first epoch a stage has measured the loss of validation alone.
    fell = own[-1]["train/loss"] < best.get("train/loss", best["val/loss"])
    # A stage may begin with a jump, and come down again to its last epoch.
    falls = since <= min(line["val/loss"] for line in own)
    if fell and not falls and since > (1.0 + RISEN) * best["val/loss"] > 0.0:
        ways = ["more examples", "fewer epochs", *_less_width(config)]
        yield (
            f"the validation loss has risen by {since / best['val/loss'] - 1.0:.1%} since epoch "
            f"{best['epoch']}, while that of training fell: try {_one_of(ways)}; checkpoint=best "
            "of sae-evaluate has the weights of that epoch"
        )


def _without_effect(
    config: RunConfig, training: Training, lines: Lines, final: Mapping[str, Any]
) -> Iterator[str]:
    if not _less_penalty(config):
        return
    # Where a penalty has reached its aim, it was larger before.
    shares = [
        line["val/penalty"] / line["val/loss"]
        for line in lines
        if "val/penalty" in line and line["val/loss"] > 0.0
    ]
    if shares and max(shares) < FAINT:
        yield (
            f"the penalty was never more than {max(shares):.2g} of the loss: try a larger "
            "penalty.weight"
        )
    n = training.autoencoder.n_latents
    # Of the penalties, only this one is there to make codes exactly 0, one by one.
    sparse = config.parts["penalty"]["name"] == "l1" and _has_exact_zeros(training)
    if sparse and final["val/l0"] >= n:
        relu = config.parts["activation"]["name"] == "relu"
        way = "a larger penalty.weight" if relu else "activation=relu, whose codes can be 0"
        yield f"every example activates all {n} latents in spite of penalty=l1: try {way}"


def _more_active(training: Training, final: Mapping[str, Any]) -> Iterator[str]:
    """Say that the threshold of training lets more codes through than it was learned for."""
    activation, l0 = training.autoencoder.activation, final["val/l0"]
    if not isinstance(activation, BatchTopK):
        return
    if l0 > (1.0 + MORE) * max(activation.k, final["train/l0"]):
        yield (
            f"val/l0 is {l0:.3g} where activation.k={activation.k}, because the threshold was "
            "learned from training examples, and lets more codes of others through: try more "
            "examples or fewer epochs"
        )


def _centring(config: RunConfig, look: Look | None) -> list[str]:
    """Name the option that centres the data, where their mean is far from 0."""
    far = None if look is None else look.mean_over_spread
    offered = config.parts["dataset"].get("centre") is False
    return ["dataset.centre=mean"] if offered and far is not None and far > FAR_MEAN else []


def _reviving(config: RunConfig, training: Training) -> list[str]:
    """Name the option that brings dead latents back, where this training can take it.

    A pre-code that is never positive has no gradient from it, as that of a dead latent of a ReLU;
    one that is never among the largest of an example may be positive.
    """
    parts = config.parts
    taken = parts["revival"]["name"] != "none" or parts["head"]["name"] != "none"
    chosen = isinstance(training.autoencoder.activation, TopK | BatchTopK)
    if taken or not chosen or shares_of(config) == "latents" or iterations_of(parts["optimizer"]):
        return []
    try:
        check_pre_codes(training.autoencoder, "auxk")
    except ConfigError:
        return []
    return ["revival=auxk"]


def _less_penalty(config: RunConfig) -> list[str]:
    """Name the option that makes a penalty smaller, where there is one."""
    penalty = config.parts["penalty"]
    # A weight that is tuned is not the user's to choose.
    by_hand = penalty.get("weight") and penalty.get("target_l0") is None
    return ["a smaller penalty.weight"] if by_hand else []


def _less_width(config: RunConfig) -> list[str]:
    """Name the option of the width of the code, where there is one."""
    return [
        f"a smaller architecture.{name}"
        for name in ("n_latents", "expansion_factor")
        if config.parts["architecture"].get(name) is not None
    ]


def _one_of(ways: Sequence[str]) -> str:
    *others, last = ways
    return f"{', '.join(others)} or {last}" if others else last
