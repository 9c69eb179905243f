"""Penalties make codes sparse, grouped or ordered; a new one is a file here.

They see codes alone: no data, no labels, no weights of the network.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.model.penalties.penalty import PENALTIES, Penalty

__all__ = ["PENALTIES", "Penalty"]

load_all(__name__)
