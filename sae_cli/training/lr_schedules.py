"""How the learning rate changes over a stage."""

from __future__ import annotations

import math
from collections.abc import Callable

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import Fraction, Natural, UnitInterval
from sae_cli.core.registry import Registry

LrSchedule = Callable[[int], float]
"""From a step, counted from 0, to the factor on the learning rate."""

LR_SCHEDULES: Registry[LrSchedule] = Registry("lr_schedule")


def _warm_up(total: int, warmup_steps: int, after: Callable[[float], float]) -> LrSchedule:
    """Rise linearly over ``warmup_steps``, then give ``after`` of the share of the rest done."""
    if warmup_steps >= total:
        raise ConfigError(
            f"lr_schedule.warmup_steps={warmup_steps} must be below the {total} steps of the stage"
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return after((step - warmup_steps) / max(1, total - 1 - warmup_steps))

    return factor


@LR_SCHEDULES.register("constant")
def constant(total_steps: int, *, warmup_steps: Natural) -> LrSchedule:
    """Keep the learning rate as given."""
    return _warm_up(total_steps, warmup_steps, lambda share: 1.0)


@LR_SCHEDULES.register("cosine")
def cosine(total_steps: int, *, warmup_steps: Natural, final: UnitInterval) -> LrSchedule:
    """Follow half a cosine from 1 to ``final`` at the last step (Loshchilov and Hutter 2017)."""

    def after(share: float) -> float:
        return final + (1 - final) * (0.5 + 0.5 * math.cos(math.pi * share))

    return _warm_up(total_steps, warmup_steps, after)


@LR_SCHEDULES.register("linear_decay")
def linear_decay(
    total_steps: int, *, warmup_steps: Natural, start: Fraction, final: UnitInterval
) -> LrSchedule:
    """Keep the full rate for the share ``start`` of the steps after warm-up, then fall linearly to
    ``final``."""

    def after(share: float) -> float:
        return 1.0 - (1.0 - final) * max(0.0, (share - start) / (1.0 - start))

    return _warm_up(total_steps, warmup_steps, after)
