"""The choices of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The choices that the tables share.

    Attributes:
        rounds: how often everything is measured.
        epochs: of a training; None for the table's own number.
        batch_sizes: of the tables that vary them.
        contenders: those asked for; empty for the table's own.
        pythons: the interpreter of each contender that can run.
        sweep_flags: further arguments of sae-train in the table of sweeps.
    """

    rounds: int
    epochs: int | None
    batch_sizes: Sequence[int]
    contenders: Sequence[str]
    pythons: Mapping[str, str]
    sweep_flags: Sequence[str]
