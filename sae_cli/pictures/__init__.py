"""The pictures that a run leaves behind: pure functions from NumPy arrays to a ``Picture``."""

from __future__ import annotations

from sae_cli.pictures.curves import loss_curves
from sae_cli.pictures.filters import filters
from sae_cli.pictures.histograms import code_histogram, mean_histogram
from sae_cli.pictures.picture import Picture, render
from sae_cli.pictures.reconstructions import reconstructions
from sae_cli.pictures.sheet import orientation_map, topographic_map

__all__ = [
    "Picture",
    "code_histogram",
    "filters",
    "loss_curves",
    "mean_histogram",
    "orientation_map",
    "reconstructions",
    "render",
    "topographic_map",
]
