"""Pictures: pure functions from arrays to a figure and the numbers that it shows.

They know no run, no model and no configuration, and write no file.
"""

from __future__ import annotations

from sae_cli.pictures.angles import angle_histogram
from sae_cli.pictures.code_scatter import code_scatter
from sae_cli.pictures.curves import loss_curves
from sae_cli.pictures.decoded_grid import decoded_grid
from sae_cli.pictures.decoded_points import decoded_points
from sae_cli.pictures.filters import filters
from sae_cli.pictures.histograms import code_histogram, mean_histogram
from sae_cli.pictures.penalty_curves import penalty_curves
from sae_cli.pictures.picture import Picture, render
from sae_cli.pictures.reconstructions import reconstructions
from sae_cli.pictures.samples import samples
from sae_cli.pictures.sheet import orientation_map, topographic_map
from sae_cli.pictures.tiles import is_image
from sae_cli.pictures.tree_map import tree_map

__all__ = [
    "Picture",
    "angle_histogram",
    "code_histogram",
    "code_scatter",
    "decoded_grid",
    "decoded_points",
    "filters",
    "is_image",
    "loss_curves",
    "mean_histogram",
    "orientation_map",
    "penalty_curves",
    "reconstructions",
    "render",
    "samples",
    "topographic_map",
    "tree_map",
]
