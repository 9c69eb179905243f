"""Penalties on codes; importing this package registers them all."""

from __future__ import annotations

from sae_cli.penalties.activity import KL, L1, L2, SquaredTarget
from sae_cli.penalties.gaussian_kl import GaussianKL
from sae_cli.penalties.group import Group
from sae_cli.penalties.lateral import Lateral
from sae_cli.penalties.penalty import PENALTIES, Penalty

__all__ = [
    "KL",
    "L1",
    "L2",
    "PENALTIES",
    "GaussianKL",
    "Group",
    "Lateral",
    "Penalty",
    "SquaredTarget",
]
