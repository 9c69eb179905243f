"""Metrics of a split, over all its examples, summed in float64."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sae_cli.core.ranks.latents import of_all_latents
from sae_cli.model.autoencoder import Pass
from sae_cli.model.logistic import Logs, log_probabilities

# Keras clips probabilities to [1e-7, 1 - 1e-7] before it takes logarithms.
LOG_CLIP = math.log(1e-7)
# The batches are small because each is copied in float64.
BASELINE_BATCH = 128
# Where probabilities are smaller than this on average, the rounding of 1 - p counts.
FAINT = 2.0**-7
# 2 to this power, and 1 over it, are normal float32 numbers.
LARGEST_EXPONENT = 126

NAMES = (
    *("mse", "bce", "bce_excess", "rounded_accuracy", "fvu"),
    *("l0", "mean_activity", "dead_latents", "accuracy"),
)
TERMS = (
    *("loss", "reconstruction", "penalty", "penalty_raw"),
    *("prediction", "prediction_raw", "head", "head_raw", "gate", "gate_raw"),
)
SPLITS = ("train", "val", "test")


def metric_names() -> list[str]:
    """List every key that a summary may have, such as ``val/loss``."""
    return [f"{split}/{name}" for split in SPLITS for name in TERMS + NAMES]


@dataclass(frozen=True)
class Baseline:
    """Figures of a split's own values, whatever the model.

    Attributes:
        n: number of examples.
        n_features: values of one example.
        mean: of all values.
        variation: sum over examples and features of the squared distance to the feature's mean;
            exactly 0 where all examples are alike, and only there.
        bce_floor: mean entropy of the values as probabilities; None unless all lie in [0, 1].
    """

    n: int
    n_features: int
    mean: float
    variation: float
    bce_floor: float | None

    @staticmethod
    def of(batches: Iterable[Tensor]) -> Baseline:
        """Measure in one pass over batches ``(batch, ...)``, in float64.

        The first example is subtracted from all, so a constant feature adds nothing to the
        variation, however large it is, and rounding grows by at most a factor of ``n``.
        """
        n, square, entropy, low, high = 0, 0.0, 0.0, 0.0, 1.0
        first: Tensor | None = None
        sums: Tensor | None = None
        for values in batches:
            x = values.flatten(1)
            if first is None or sums is None:
                first = x[0].double()
                sums = torch.zeros_like(first)
            shifted = x.double().sub_(first)
            of_batch = shifted.sum(0)
            sums += of_batch
            n += len(x)
            square += float(shifted.square_().sum())
            smallest, largest = torch.aminmax(x)
            low, high = min(low, float(smallest)), max(high, float(largest))
            if low >= 0.0 and high <= 1.0:
                entropy += float(_entropy(x, mean=float((first + of_batch / len(x)).mean())))
        assert first is not None and sums is not None, "a split is never empty"
        return Baseline(
            n=n,
            n_features=len(sums),
            mean=float((first + sums / n).mean()),
            variation=square - float(sums.square().sum()) / n,
            bce_floor=entropy / (n * len(sums)) if low >= 0.0 and high <= 1.0 else None,
        )


def _entropy(p: Tensor, mean: float) -> Tensor:
    """Sum the entropy of probabilities ``(batch, n)`` with this mean."""
    if mean < FAINT:
        p = p.double()
        of_rest: Tensor = torch.special.xlog1py(1.0 - p, -p)
        return (_surprise(p) - of_rest).sum()
    return _sum(_surprise(p)) + _sum(_surprise(1.0 - p))


def _surprise(p: Tensor) -> Tensor:
    """Compute ``-p log p`` without taking the logarithm of 0, which is ten times as slow."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log_().mul_(-p)


def _squared_error(x_hat: Tensor, target: Tensor) -> Tensor:
    """Compute the squared distance between two batches ``(batch, n)``, a float64 scalar.

    A power of two brings the largest difference near 1 first, because squares of float32 values
    vanish below 1e-23 and are infinite above 1e19. It changes no bit where they are neither.
    """
    difference = x_hat - target
    smallest, largest = torch.aminmax(difference)
    _, exponent = torch.frexp(torch.maximum(largest, -smallest))
    exponent = exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
    # The product with a power of two is as exact as ldexp of each, and takes a tenth of its time.
    near_1 = difference.mul_(torch.ldexp(torch.ones_like(largest), -exponent))
    total = _sum(near_1.square_())
    # Two steps, because the square of the power may be too large for a float32.
    return torch.ldexp(torch.ldexp(total, exponent), exponent)


def _sum(elements: Tensor) -> Tensor:
    """Sum each example in its own precision, then the examples in float64: this copies nothing."""
    return elements.sum(1).sum(dtype=torch.float64)


@final
class Metrics:
    """Running sums over the batches of one evaluation.

    Args:
        baseline: of the split that is evaluated.
        n_latents: width of the code, or the latents of this process where several hold some.
        active_above: a code counts as active when its magnitude exceeds this.
        device: where the batches are.
        logistic: whether ``x_hat`` is the sigmoid of ``pre_x_hat``.
    """

    def __init__(
        self,
        baseline: Baseline,
        n_latents: int,
        active_above: float,
        device: torch.device,
        *,
        logistic: bool = False,
    ) -> None:
        self.baseline = baseline
        self._logistic = logistic
        self.active_above = active_above
        self._squared_error = torch.zeros((), dtype=torch.float64, device=device)
        self._cross_entropy = torch.zeros_like(self._squared_error)
        self._rounded_apart = torch.zeros_like(self._cross_entropy)
        self._codes = torch.zeros(n_latents, dtype=torch.float64, device=device)
        self._active = torch.zeros_like(self._codes)

    def update(self, passed: Pass, target: Tensor) -> None:
        """Add one batch."""
        x_hat = passed.x_hat
        self._squared_error += _squared_error(x_hat.flatten(1), target.flatten(1))
        self._codes += passed.codes.sum(0, dtype=torch.float64)
        self._active += (passed.codes.abs() > self.active_above).sum(0)
        if self.baseline.bce_floor is not None:
            logs = self.logs(passed)
            assert logs is not None
            # The logarithms are clipped, not p, because 1 - 1e-7 is not a float32.
            likelihood = logs.likelihood(target, at_least=LOG_CLIP)
            self._cross_entropy -= _sum(likelihood.flatten(1))
            # A half is rounded to 0.
            apart = x_hat.clamp(0.0, 1.0).round_().sub_(target.round()).abs_()
            self._rounded_apart += _sum(apart.flatten(1))

    def logs(self, passed: Pass) -> Logs | None:
        """Give the logarithms of a pass's probabilities; None where targets are none.

        Those that the pass has are taken, so that they are computed once.
        """
        if self.baseline.bce_floor is None or passed.logs is not None:
            return passed.logs
        if self._logistic:
            return log_probabilities(passed.pre_x_hat)
        p = passed.x_hat.clamp(0.0, 1.0)
        return Logs(p.log(), p.neg().log1p_())

    def result(self) -> dict[str, float]:
        """Give the metrics by name.

        ``mse``; ``fvu``, the squared error over the variation of the split, NaN where all examples
        are alike; ``l0``, the mean number of active codes of an example; ``mean_activity``;
        ``dead_latents``, the number of latents that no example activates. Where all targets lie in
        [0, 1] also ``bce`` (its logarithms at least that of 1e-7), ``bce_excess`` over its floor,
        and ``rounded_accuracy``, the share of values on the same side of 0.5 as their target.
        """
        baseline = self.baseline
        codes, active = of_all_latents(self._codes), of_all_latents(self._active)
        elements = baseline.n * baseline.n_features
        error = float(self._squared_error)
        result = {"mse": error / elements}
        if baseline.bce_floor is not None:
            bce = float(self._cross_entropy) / elements
            result["bce"] = bce
            result["bce_excess"] = bce - baseline.bce_floor
            result["rounded_accuracy"] = (elements - float(self._rounded_apart)) / elements
        return result | {
            "fvu": error / baseline.variation if baseline.variation > 0.0 else float("nan"),
            "l0": float(active.sum()) / baseline.n,
            "mean_activity": float(codes.mean()) / baseline.n,
            "dead_latents": int((active == 0).sum()),
        }
