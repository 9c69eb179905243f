"""Activations turn pre-codes into codes; a new one is an entry in ``pointwise``, or a file here.

They know their range and when a code counts as active, but nothing of penalties and layers.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.model.activations.activation import ACTIVATIONS, Activation

__all__ = ["ACTIVATIONS", "Activation"]

load_all(__name__)
