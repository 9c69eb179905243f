"""Corruptions of layers that are trained by themselves, each with an amount of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_cli.core.errors import ConfigError
from sae_cli.training.corruptions import CORRUPTIONS, Corruption
from sae_cli.training.schedules import Schedule


def build_layer_corruptions(
    section: Mapping[str, Any], corruption: Corruption | None, schedule: Schedule, n_layers: int
) -> tuple[Corruption, ...]:
    """Build the corruption of each layer's input, from the input on.

    Args:
        section: the chosen corruption and its options.
        corruption: what it builds.
        n_layers: of the network; ``schedule`` suits that number.

    Returns:
        one for each layer; none where the schedule does not give amounts.

    Raises:
        ConfigError: the corruption has no amount, or not one of this size.
    """
    amounts = schedule.layer_corruptions
    if amounts is None:
        return ()
    if corruption is None or not corruption.amount:
        raise ConfigError(
            f"schedule.layer_corruptions={amounts} says how much is corrupted, which corruption="
            f"{section['name']} does not take; choose corruption=masking, or give null"
        )
    each = amounts * n_layers if len(amounts) == 1 else amounts
    return tuple(_build({**section, corruption.amount: amount}, amounts) for amount in each)


def _build(section: Mapping[str, Any], amounts: list[float]) -> Corruption:
    try:
        built = CORRUPTIONS.build(CORRUPTIONS.check(section))
    except ConfigError as error:
        raise ConfigError(f"schedule.layer_corruptions={amounts}: {error}") from None
    assert built is not None, "a corruption with an amount corrupts"
    return built
