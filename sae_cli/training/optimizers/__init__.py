"""How parameters move; a new optimizer is a class here.

They see parameters, gradients and values of the loss: no data, and no network.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.training.optimizers.optimizer import OPTIMIZERS, Mover, Optimizer

__all__ = ["OPTIMIZERS", "Mover", "Optimizer"]

load_all(__name__)
