"""Predicted codes: how near an encoder comes to those of sparse coding, and how many steps of ISTA
and of FISTA come as near (Gregor and LeCun 2010)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import counted
from sae_cli.datasets import Split
from sae_cli.model.inference import INFERENCES, Inference
from sae_cli.results.evaluation.subject import Subject

# Examples are fewer where a step is much work, of so many multiplications of all of them.
MOST_ROWS, MOST_WORK = 1000, 1 << 26
# Of fewer a mean says little; a small split is looked at whole.
FEWEST_ROWS = 50
# Codes count as converged after so many steps of FISTA, and no more steps are counted.
CONVERGED, MOST_STEPS = 3000, 3000


@torch.inference_mode()
def predicted_codes(subject: Subject, notes: list[str]) -> dict[str, Any]:
    """Compare predicted codes with converged ones, which are not drawn to the prediction.

    Returns:
        ``predicted_error``, the sum of their squared distances over the sum of the squares of
        converged codes; ``ista_steps`` and ``fista_steps``, how many from zero on come as near, or
        None. Nothing for a model that predicts no codes, whose penalty has no exact proximal step,
        or whose codes are so wide that few examples could be looked at.
    """
    run = subject.run
    decoder = run.autoencoder.linear_decoder()
    if run.is_dictionary or run.autoencoder.infer is None or decoder is None:
        return {}
    own = INFERENCES.build(run.config.parts["inference"])
    if own is None or not own.prediction_weight:
        return {}
    try:
        converge = _inference(own, True, CONVERGED)
        penalty = converge.check(run.config.parts["penalty"]["name"], run.network.penalty)
    except ConfigError:
        return {}
    dictionary, bias = decoder
    n = _affordable(subject)
    if n < FEWEST_ROWS:
        notes.append(
            f"predicted_error is left out, because steps of ISTA on {run.n_latents:,} latents take "
            "too long"
        )
        return {}
    x, predicted = _seen(subject, n)
    x = x if bias is None else x - bias
    start = torch.zeros_like(predicted)
    expected = converge(x, dictionary, start, penalty)
    scale = float(expected.double().square().sum())
    if scale == 0.0:
        return {}

    def error(codes: Tensor) -> float:
        return float((codes - expected).double().square().sum()) / scale

    found: dict[str, Any] = {"predicted_error": error(predicted)}
    for name, momentum in (("ista_steps", False), ("fista_steps", True)):
        steps = _inference(own, momentum, MOST_STEPS).steps(x, dictionary, start, penalty)
        reached = (n for n, codes in enumerate(steps) if error(codes) <= found["predicted_error"])
        found[name] = next(reached, None)
    notes.append(
        "predicted_error is the squared distance of the codes that the encoder predicts for "
        f"{counted(len(x), 'example')} from those after {CONVERGED:,} steps of FISTA, over the "
        "squares of these; ista_steps and fista_steps from zero come as near, of at most "
        f"{MOST_STEPS:,}"
    )
    return found


def _inference(own: Inference, momentum: bool, n_steps: int) -> Inference:
    """Sparse coding with the same range of codes, which are not drawn to the prediction."""
    return Inference(momentum, n_steps, own.non_negative, 0.0, False)


def _affordable(subject: Subject) -> int:
    """Give how many examples may be looked at."""
    wide, features = subject.run.n_latents, math.prod(subject.run.input_shape)
    return min(MOST_ROWS, MOST_WORK // (wide * min(wide, 2 * features)))


def _seen(subject: Subject, n: int) -> tuple[Tensor, Tensor]:
    """Give up to ``n`` examples, ``(n, n_features)``, evenly spaced where there are more, and the
    codes that the encoder predicts for them, ``(n, n_latents)``."""
    split, model = subject.examples, subject.run.autoencoder
    n = min(n, len(split))
    some = Split(split.stored, split.rows[torch.arange(n) * len(split) // n], None, split.inputs)
    x = torch.cat(list(subject.batches(some)))
    return x.flatten(1), model.activation(model.encoder(x))
