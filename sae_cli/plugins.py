"""What the author of a plug-in imports: the registries of parts, and what parts are made of.

A plug-in is a Python file that registers parts as this package does, each with its keyword-only
options; ``docs/plugins.md`` has a page of examples. Importing this imports PyTorch.
"""

from __future__ import annotations

from sae_cli.core.errors import ConfigError
from sae_cli.core.options import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    OpenUnit,
    Positive,
    UnitInterval,
    Width,
)
from sae_cli.core.shapes import NON_NEGATIVE, REALS, UNIT, DataShape, Interval
from sae_cli.datasets.dataset import DATASETS, Dataset
from sae_cli.datasets.in_memory import dataset_of
from sae_cli.model.activations.activation import ACTIVATIONS, Activation
from sae_cli.model.activations.pointwise import ActivationName, Pointwise
from sae_cli.model.architectures.architecture import ARCHITECTURES, code_width
from sae_cli.model.autoencoder import AutoEncoder
from sae_cli.model.initialisation import Init, linear
from sae_cli.model.penalties.penalty import PENALTIES, ExamplePenalty, Penalty
from sae_cli.model.penalties.roles import OfEachLatent
from sae_cli.pictures.chapters import Chapter
from sae_cli.pictures.chapters import register as register_picture
from sae_cli.pictures.picture import Picture, new_figure
from sae_cli.pictures.view import View
from sae_cli.results.interchange.export import EXPORTERS
from sae_cli.results.interchange.written import Exported
from sae_cli.trackers.tracker import TRACKERS, About, Line, Tracker
from sae_cli.training.corruptions import CORRUPTIONS, Corruption
from sae_cli.training.moved import Moved
from sae_cli.training.optimizers import OPTIMIZERS, Optimizer

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "CORRUPTIONS",
    "DATASETS",
    "EXPORTERS",
    "NON_NEGATIVE",
    "OPTIMIZERS",
    "PENALTIES",
    "REALS",
    "TRACKERS",
    "UNIT",
    "About",
    "Activation",
    "ActivationName",
    "AutoEncoder",
    "Chapter",
    "ConfigError",
    "Corruption",
    "Count",
    "DataShape",
    "Dataset",
    "ExamplePenalty",
    "Exported",
    "Fraction",
    "Init",
    "Interval",
    "Line",
    "Moved",
    "Natural",
    "NonNegative",
    "OfEachLatent",
    "OpenUnit",
    "Optimizer",
    "Penalty",
    "Picture",
    "Pointwise",
    "Positive",
    "Tracker",
    "UnitInterval",
    "View",
    "Width",
    "code_width",
    "dataset_of",
    "linear",
    "new_figure",
    "register_picture",
]
