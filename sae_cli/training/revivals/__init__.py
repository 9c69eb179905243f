"""Ways to bring dead latents back; a new one is a file here.

They see the network, its passes and the optimizer: no data set, and no configuration.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.training.revivals.revival import REVIVALS, Revival

__all__ = ["REVIVALS", "Revival"]

load_all(__name__)
