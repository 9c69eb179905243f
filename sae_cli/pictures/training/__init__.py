"""Pictures of the course of a training, and of what it pulls towards.

A new one is a file here. They know the lines of metrics, and nothing of a model.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all

load_all(__name__)
