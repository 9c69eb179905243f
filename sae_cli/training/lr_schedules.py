"""How the learning rate goes over a stage."""

from __future__ import annotations

import math
from collections.abc import Callable

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Fraction, Natural, UnitInterval
from sae_cli.core.registry import Registry

LrSchedule = Callable[[int], float]
"""Step (from 0) to the factor on the learning rate."""

LR_SCHEDULES: Registry[LrSchedule] = Registry("lr_schedule")


def _warmed_up(total: int, warmup_steps: int, after: LrSchedule) -> LrSchedule:
    """Linear rise over ``warmup_steps``, then ``after`` of the share of the rest that is done."""
    if warmup_steps >= total:
        raise ConfigError(
            f"lr_schedule.warmup_steps={warmup_steps} must be below the {total} steps of the stage"
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return after(step)

    return factor


def _share(step: int, warmup_steps: int, total: int) -> float:
    return (step - warmup_steps) / max(1, total - 1 - warmup_steps)


@LR_SCHEDULES.register("constant")
def constant(total_steps: int, *, warmup_steps: Natural) -> LrSchedule:
    """The learning rate as given."""
    return _warmed_up(total_steps, warmup_steps, lambda step: 1.0)


@LR_SCHEDULES.register("cosine")
def cosine(total_steps: int, *, warmup_steps: Natural, final: UnitInterval) -> LrSchedule:
    """Half a cosine from 1 to ``final`` at the last step (Loshchilov and Hutter 2017)."""

    def factor(step: int) -> float:
        return final + (1 - final) * (
            0.5 + 0.5 * math.cos(math.pi * _share(step, warmup_steps, total_steps))
        )

    return _warmed_up(total_steps, warmup_steps, factor)


@LR_SCHEDULES.register("linear_decay")
def linear_decay(
    total_steps: int, *, warmup_steps: Natural, start: Fraction, final: UnitInterval
) -> LrSchedule:
    """Full until the share ``start`` of the steps after warm-up, then a line to ``final``."""

    def factor(step: int) -> float:
        share = _share(step, warmup_steps, total_steps)
        return 1.0 - (1.0 - final) * max(0.0, (share - start) / (1.0 - start))

    return _warmed_up(total_steps, warmup_steps, factor)
