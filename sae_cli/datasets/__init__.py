"""Data sets: where examples come from, one file each.

They read, check and split examples, and know nothing of what is done with them.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.datasets.dataset import DATASETS, Dataset, Split

__all__ = ["DATASETS", "Dataset", "Split"]

load_all(__name__)
