"""The base of penalties whose weight may be tuned, while training, until L0 comes to a target."""

from __future__ import annotations

import math
from abc import ABC

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import NonNegative, Positive, WarmUpSteps
from sae_cli.core.ranks.latents import sum_over_latents
from sae_cli.core.ranks.together import mean_of_batch
from sae_cli.model.autoencoder import Pass
from sae_cli.model.further import Watcher
from sae_cli.model.penalties.growing import Growing
from sae_cli.model.penalties.roles import OfNetwork, Tuned

# The share of each step in the running mean of L0.
RATE = 0.05
# Further above the target than MOST times, L0 is asked to come no faster. Below LEAST times it
# counts as if it were there: the logarithm of 0 is infinite, and an L0 that rises from nearly 0
# would call for a weight without bound.
MOST = 8.0
LEAST = 0.5
# The logarithm of the weight goes no further than this from where it began, because where L0 cannot
# come to its target, it would go on for ever.
LARGEST = 14.0


class Targeting(Growing, OfNetwork, Tuned, Watcher, ABC):
    """A penalty of each example, whose weight may be tuned until L0 comes to a target.

    L0, the mean number of active latents of an example, is measured on each training batch. A
    controller with a proportional and an integral part raises the logarithm of the weight where L0
    is above its target and not on its way, and lowers it where L0 is below or falls too fast. The
    proportional part begins at the first L0, so that the first step moves the weight by little
    (Astrom and Hagglund 1995, PID controllers, on set-point weighting).

    Args:
        weight: multiplies the penalty; the first weight where there is a target.
        warmup_steps: the weight grows from 0 over this many steps, and is tuned after them.
        target_l0: the target, or None to keep the weight as it is.

    Attributes:
        log_factor: the logarithm of what multiplies the weight; None without a target.
        mean_l0: the running mean of L0; 0 before the first step.
        hold: the logarithm of the weight moves by this times the sum of how the error, the
            logarithm of L0 / target, has moved and of the error divided by ``settling``.
        settling: steps in which L0 is to come nearer to its target by a factor of e.
    """

    # The weight rests where L0 nears its target at that pace, and is taken back before L0 is there.
    # A weight that surges would stay: codes that it has sent too far return slowly, because Adam
    # divides their small gradients by the memory of the large ones. Codes that shrink follow the
    # weight themselves, and with more hold they swing.
    hold = 2.0
    settling = 200.0

    def __init__(
        self, *, weight: NonNegative, warmup_steps: WarmUpSteps, target_l0: Positive | None
    ) -> None:
        super().__init__(weight=weight, warmup_steps=warmup_steps)
        if target_l0 is not None and weight == 0.0:
            raise ConfigError(
                f"penalty.target_l0={target_l0:g} multiplies penalty.weight=0, which stays 0; give "
                "a weight to begin with, such as 0.01"
            )
        self.target_l0 = target_l0
        self.active_above = 0.0
        tuned = target_l0 is not None
        self.log_factor: Tensor | None
        self.register_buffer("log_factor", torch.zeros(()) if tuned else None)
        self.mean_l0: Tensor | None
        self.register_buffer("mean_l0", torch.zeros(()) if tuned else None)

    def factor(self) -> Tensor | None:
        return None if self.log_factor is None else self.log_factor.exp()

    @torch.no_grad()
    def watch_(self, passed: Pass) -> None:
        if self.mean_l0 is None or self.log_factor is None or self.target_l0 is None:
            return
        active = passed.codes.abs() > self.active_above
        own = active.sum(1, dtype=self.mean_l0.dtype).mean()
        l0 = sum_over_latents(mean_of_batch(own, len(active)))
        before = self._error()
        seen = self.mean_l0 > 0
        self.mean_l0.copy_(torch.where(seen, self.mean_l0.lerp(l0, RATE), l0))
        after = self._error()
        moved = torch.where(seen, after - before, 0.0)
        move = self.hold * (moved + after.clamp_max(math.log(MOST)) / self.settling)
        if self.steps is not None:
            move = move * (self.steps >= self.warmup_steps)
        self.log_factor.add_(move).clamp_(-LARGEST, LARGEST)

    def _error(self) -> Tensor:
        """How far L0 is from its target, as a logarithm; 0 before the first step."""
        assert self.mean_l0 is not None and self.target_l0 is not None
        ratio = self.mean_l0 / self.target_l0
        return torch.where(ratio > 0, ratio.clamp_min(LEAST).log(), 0.0)

    def report_(self) -> dict[str, float]:
        factor = self.factor()
        return {} if factor is None else {"penalty_weight": self.weight * float(factor)}
