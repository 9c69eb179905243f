"""Codes that minimise an energy, in place of those that an encoder computes in one pass.

For each example ``x`` and a linear decoder ``D``, whose columns are atoms,

    E(z) = |x - D z|^2 + weight * penalty(z) + prediction_weight * |z - start|^2

(Olshausen and Field 1996; the last term Kavukcuoglu, Ranzato and LeCun 2008) is minimised by
proximal gradient steps: each goes against the gradient of the squares, then shrinks the codes.
The squares are summed over features, so the energy is the loss with
``reconstruction.reduction=sum``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import NonNegative, Steps
from sae_cli.core.registry import Registry
from sae_cli.model import proximal
from sae_cli.model.penalties.penalty import ExamplePenalty, Penalty
from sae_cli.model.proximal import Majorised, Proximal

INFERENCES: Registry[Inference | None] = Registry("inference")


def energy(
    x: Tensor,
    dictionary: Tensor,
    codes: Tensor,
    penalty: ExamplePenalty | None,
    start: Tensor | None = None,
    prediction_weight: float = 0.0,
) -> Tensor:
    """``(batch,)``: the energy of each example.

    Args:
        x: ``(batch, n_features)``.
        dictionary: ``(n_features, n_latents)``, an atom in each column.
        codes: ``(batch, n_latents)``.
        penalty: of each example, or None.
        start: ``(batch, n_latents)``, the prediction that codes are drawn to, or None.
        prediction_weight: how strongly.
    """
    found = (x - codes @ dictionary.t()).square().sum(1)
    if penalty is not None:
        found = found + penalty.weight * penalty.per_example(codes)
    if start is not None:
        found = found + prediction_weight * (codes - start).square().sum(1)
    return found


def shrink(penalty: ExamplePenalty, codes: Tensor, step: float | Tensor, before: Tensor) -> Tensor:
    """Shrink codes ``(batch, n_latents)`` by a proximal step on the weighted penalty, or, where it
    has no formula, by a step against the gradient.

    Args:
        step: its size; a number, or ``(batch, 1)``.
        before: ``(batch, n_latents)``, the codes before the step on the rest of the energy.
    """
    if isinstance(penalty, Majorised):
        return penalty.shrink_from(before, codes, step)
    if isinstance(penalty, Proximal) and penalty.exact_shrink:
        return penalty.shrink(codes, step)
    # Evaluations call this in inference mode, whose tensors have no gradients.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = codes.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(penalty.per_example(leaf).sum(), leaf)
    return codes - step * penalty.weight * gradient


def _exact(penalty: Penalty | None) -> bool:
    return penalty is None or (isinstance(penalty, Proximal) and penalty.exact_shrink)


@final
class Inference:
    """Proximal gradient descent on the energy of each example, a fixed number of steps.

    No gradient is recorded, nothing is drawn at random, and nothing is read back from the device.

    Args:
        momentum: FISTA (Beck and Teboulle 2009) in place of ISTA.
        n_steps: of each inference.
        non_negative: codes stay at 0 or above.
        prediction_weight: of ``|z - start|^2``, in the energy with ``follow_encoder``, and in the
            loss of an encoder that is trained to predict codes.
        follow_encoder: codes are drawn to those of the encoder, where they start.
    """

    def __init__(
        self,
        momentum: bool,
        n_steps: int,
        non_negative: bool,
        prediction_weight: float,
        follow_encoder: bool,
    ) -> None:
        if follow_encoder and not prediction_weight:
            raise ConfigError(
                "inference.follow_encoder=true has no effect with inference.prediction_weight=0; "
                "give a weight above 0, or inference.follow_encoder=false"
            )
        self.momentum = momentum
        self.n_steps = n_steps
        self.non_negative = non_negative
        self.prediction_weight = prediction_weight
        self.follow_encoder = follow_encoder

    def check(self, name: str, penalty: Penalty | None) -> ExamplePenalty | None:
        """Give the penalty back if the steps can work with it.

        Args:
            name: of the penalty.

        Raises:
            ConfigError: the penalty is of the mean over examples; or it has no exact proximal step,
                which, like convexity, FISTA needs.
        """
        if penalty is not None and not isinstance(penalty, ExamplePenalty):
            raise ConfigError(
                f"penalty={name} depends on the mean activity of many examples, and inference "
                "needs a penalty of each example; choose penalty=l1, or inference=none"
            )
        if self.momentum and not _exact(penalty):
            raise ConfigError(
                f"inference=fista needs a convex penalty with an exact proximal step, and "
                f"penalty={name} has none; choose inference=ista, or penalty=l1"
            )
        return penalty

    def __call__(
        self, x: Tensor, dictionary: Tensor, start: Tensor, penalty: ExamplePenalty | None
    ) -> Tensor:
        """Codes ``(batch, n_latents)`` of low energy.

        Args:
            x: ``(batch, n_features)``.
            dictionary: ``(n_features, n_latents)``, an atom in each column.
            start: ``(batch, n_latents)``, where to begin.
            penalty: of each example, or None.
        """
        with torch.autocast(x.device.type, enabled=False):
            (codes,) = deque(self.steps(x, dictionary, start.to(x.dtype), penalty), maxlen=1)
            return codes

    def energy(
        self,
        x: Tensor,
        dictionary: Tensor,
        codes: Tensor,
        start: Tensor,
        penalty: ExamplePenalty | None,
    ) -> Tensor:
        """The energy of each example at ``codes``, which ``steps`` lowers: ``(batch,)``."""
        followed = start if self.follow_encoder else None
        return energy(x, dictionary, codes, penalty, followed, self.prediction_weight)

    @torch.no_grad()
    def steps(
        self, x: Tensor, dictionary: Tensor, start: Tensor, penalty: ExamplePenalty | None
    ) -> Iterator[Tensor]:
        """Yield the codes at the start (clipped at 0 where they must not be negative), then after
        each step. The arguments are those of a call."""
        pull = 2.0 * self.prediction_weight if self.follow_encoder else 0.0
        lipschitz = 2.0 * proximal.largest_eigenvalue(dictionary) + pull
        step = 1.0 / lipschitz.clamp_min(torch.finfo(x.dtype).tiny)
        of_squares = proximal.gradient_of_squares(x, dictionary, self.n_steps)

        def move(codes: Tensor, step: Tensor) -> Tensor:
            gradient = of_squares(codes)
            if self.follow_encoder:
                gradient = gradient + pull * (codes - start)
            down = self._clip(codes - step * gradient)
            # If the penalty grows with each magnitude, clipping and then shrinking is the exact
            # proximal step of both together.
            return down if penalty is None else self._clip(shrink(penalty, down, step, codes))

        codes = self._clip(start)
        yield codes
        if self.momentum:
            yield from proximal.fista(move, codes, step, self.n_steps)
        elif _exact(penalty):
            yield from proximal.ista(move, codes, step, self.n_steps)
        else:

            def energies(codes: Tensor) -> Tensor:
                return self.energy(x, dictionary, codes, start, penalty)

            yield from proximal.careful_ista(move, energies, codes, step, self.n_steps)

    def _clip(self, codes: Tensor) -> Tensor:
        return codes.clamp_min(0.0) if self.non_negative else codes


@INFERENCES.register("none")
def none() -> None:
    """Take the codes that the encoder makes."""


@INFERENCES.register("ista")
def ista(
    *, n_steps: Steps, non_negative: bool, prediction_weight: NonNegative, follow_encoder: bool
) -> Inference:
    """Proximal gradient descent, for any penalty."""
    return Inference(False, n_steps, non_negative, prediction_weight, follow_encoder)


@INFERENCES.register("fista")
def fista(
    *, n_steps: Steps, non_negative: bool, prediction_weight: NonNegative, follow_encoder: bool
) -> Inference:
    """Accelerated proximal gradient descent, for penalties with an exact proximal step."""
    return Inference(True, n_steps, non_negative, prediction_weight, follow_encoder)
