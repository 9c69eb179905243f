"""Pictures of latents: their weights, how often they fire, how they lie to each other.

A new one is a file here. They know weights and counts as arrays, and no layer or penalty.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all

load_all(__name__)
