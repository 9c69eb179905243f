"""Pictures: pure functions from arrays to a figure and the numbers that it shows.

They know no run, no model and no configuration, and write no file. Beside each stands a ``draw``
from a view of a run to those pictures of the file that apply to it; a new picture is a file here.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.pictures.chapters import pictures_of
from sae_cli.pictures.picture import Picture, render
from sae_cli.pictures.view import Examples, View

__all__ = ["Examples", "Picture", "View", "pictures_of", "render"]

load_all(__name__)
