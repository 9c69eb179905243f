"""Architectures build an auto-encoder for the shape of the data; a new one is a file here.

They choose and join layers; what the codes cost and how the layers are trained is not theirs.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.model.architectures.architecture import ARCHITECTURES

__all__ = ["ARCHITECTURES"]

load_all(__name__)
