"""Architectures build an auto-encoder for the shape of the data; a new one is a file here.

They choose and join layers; they know nothing of losses and training.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.model.architectures.architecture import ARCHITECTURES

__all__ = ["ARCHITECTURES"]

load_all(__name__)
