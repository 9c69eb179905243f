"""Pictures of codes: how they are distributed, where they lie, and what they decode to.

A new one is a file here. They decode through the view alone, and know no network.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all

load_all(__name__)
