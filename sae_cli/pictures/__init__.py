"""Pictures: pure functions from arrays to a figure and the numbers that it shows.

They know nothing of runs, models and configurations, and write no file. Each file also has a
``draw``, which yields those of its pictures that apply to a view of a run; a new picture is a file
in the folder of what it shows. The files at this level are what pictures share.
"""

from __future__ import annotations

from sae_cli.core.registry import load_all
from sae_cli.pictures.chapters import pictures_of
from sae_cli.pictures.picture import Picture, render
from sae_cli.pictures.view import Examples, View

__all__ = ["Examples", "Picture", "View", "pictures_of", "render"]

load_all(__name__)
