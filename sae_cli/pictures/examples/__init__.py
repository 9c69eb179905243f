"""Pictures of single examples: what goes into a model and what comes out of it.

A new one is a file here. They draw the examples that a view gives, and choose none themselves.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all

load_all(__name__)
