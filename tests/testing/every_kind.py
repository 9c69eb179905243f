"""A part of every kind that a plug-in may bring; a copy of this file is the plug-in of tests."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from sae_cli.plugins import (
    ACTIVATIONS,
    CORRUPTIONS,
    EXPORTERS,
    NON_NEGATIVE,
    OPTIMIZERS,
    TRACKERS,
    About,
    Activation,
    Chapter,
    Corruption,
    Count,
    Exported,
    Line,
    Moved,
    NonNegative,
    Optimizer,
    Picture,
    Positive,
    Tracker,
    View,
    new_figure,
    register_picture,
)


@ACTIVATIONS.register("squared_relu")
class SquaredReLU(Activation):
    """The square of what is above 0."""

    name = "squared_relu"
    interval = NON_NEGATIVE

    def __init__(self, *, active_above: NonNegative = 0.0, scale: Positive = 1.0) -> None:
        super().__init__()
        self.active_above = active_above
        self.scale = scale

    def forward(self, pre_codes: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.scale * pre_codes.relu().square()


@CORRUPTIONS.register("shift")
class Shift(Corruption):
    """One random number added to each example."""

    def __init__(self, *, std: NonNegative = 0.3) -> None:
        self.std = std

    def __call__(self, x: Tensor, generator: Generator) -> Tensor:
        shape = (len(x), *[1] * (x.ndim - 1))
        return x + self.std * torch.randn(shape, generator=generator, device=x.device)


@OPTIMIZERS.register("signs")
class Signs(Optimizer):
    """Steps by the sign of a running mean of gradients."""

    def __init__(
        self, parameters: Any, *, learning_rate: Positive = 0.001, memory: NonNegative = 0.5
    ) -> None:
        super().__init__(parameters, "mean")
        self.memory = memory

    def move(self, moved: Moved, learning_rate: float | Tensor) -> None:
        for parameter, mean, gradient in zip(
            moved.parameters, moved.state["mean"], moved.gradients, strict=True
        ):
            mean.mul_(self.memory).add_(gradient)
            parameter.sub_(mean.sign() * learning_rate)


@register_picture(Chapter.CODES)
def mean_codes(view: View) -> Iterator[Picture]:
    """Draw the mean of each latent."""
    figure = new_figure(4.0, 2.0, constrained=True)
    figure.add_subplot().plot(view.means)
    yield Picture("mean_codes", figure, {"means": view.means})


@TRACKERS.register("lines")
class Lines(Tracker):
    """A file of JSON lines beside the runs."""

    def __init__(self, about: About, *, log_every: Count = 1) -> None:
        self.log_every = log_every
        self._file: Path = about.store / "lines.jsonl"

    def log(self, lines: Sequence[Line]) -> None:
        with self._file.open("a") as file:
            for line in lines:
                file.write(json.dumps(line.values) + "\n")

    def show(self, name: str, png: Path, line: Line) -> None:
        pass

    def end(self, status: str) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(status) + "\n")


@EXPORTERS.register("atoms")
def atoms(exported: Exported) -> dict[str, bytes]:
    """Give the atoms alone, as text."""
    rows = exported.dictionary.w_dec.tolist()
    return {"atoms.txt": "\n".join(map(str, rows)).encode()}
