"""Where metrics go beside the run folder: one file for each kind of store.

A tracker runs in a process of its own and copies what a run folder holds, so it can neither stop a
run nor change it. Nothing here imports a tracker's package before that process has begun, and
nothing here knows torch, configurations or training.
"""

from sae_cli.core.registry import load_all
from sae_cli.trackers.tracker import TRACKERS

load_all(__name__)

__all__ = ["TRACKERS"]
