"""A registered picture of a loaded run, drawn anew from its weights and data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sae_cli.assembly.network import Network
from sae_cli.assembly.parts import build_parts
from sae_cli.assembly.stages import Training, build_training
from sae_cli.config.schema import RunConfig
from sae_cli.core.errors import ConfigError, nearest
from sae_cli.core.text import short
from sae_cli.datasets.formats.bus_errors import bus_errors_raised
from sae_cli.pictures import Picture, View
from sae_cli.pictures.chapters import CHAPTERS
from sae_cli.pictures.codes.projected import PACKAGES, check_projection
from sae_cli.results.drawing import RunView
from sae_cli.results.loaded_data import read_own

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Loaded:
    """A loaded run as pictures see it."""

    config: RunConfig
    training: Training
    lines: Sequence[Mapping[str, Any]]


def draw_picture(
    path: Path,
    config: RunConfig,
    network: Network,
    device: torch.device,
    lines: Sequence[Mapping[str, Any]],
    name: str,
) -> Figure:
    """Draw the picture of that name.

    Args:
        path: the run folder.
        network: the trained one.
        device: where to compute.
        lines: of ``metrics.jsonl``.

    Raises:
        ConfigError: no such picture applies to the run, or its data are missing or unfit.
    """
    with bus_errors_raised(), torch.no_grad():
        view = RunView(Loaded(config, _rebuild(path, config, network, device), lines))
        if (asked := name.removeprefix("code_")) in PACKAGES:
            # Any run can be drawn so, whatever it was to draw at its end.
            check_projection(asked)
            view.projection = asked
        others = []
        for picture in _nearest_first(view, name):
            if picture.name == name:
                return picture.figure
            others.append(picture.name)
    raise ConfigError(
        f"{name} is not a picture of {short(path)}; it has {', '.join(sorted(others))}"
        + nearest(name, others)
    )


def _rebuild(path: Path, config: RunConfig, network: Network, device: torch.device) -> Training:
    """Put together the training that ended with a network, on the device that is there now."""
    here = config.parts["device"] | {"name": device.type, "precision": "float32"}
    config = replace(config, parts=config.parts | {"device": here})
    data, _ = read_own(path, config)
    training = build_training(config, build_parts(config), data)
    training.network.saved.load_state_dict(network.saved.state_dict())
    training.network.saved.eval()
    return training


def _nearest_first(view: View, name: str) -> Iterator[Picture]:
    """Yield the pictures of a view; first those of the file that has the name, if one has it."""
    draws = [draw for chapter in CHAPTERS.values() for draw in chapter]
    draws.sort(key=lambda draw: draw.__module__.rpartition(".")[2] != name)
    for draw in draws:
        yield from draw(view)
