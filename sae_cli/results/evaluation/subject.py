"""What is evaluated: a loaded run, and data brought to what its model was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sae_cli.core.errors import ConfigError
from sae_cli.core.text import short
from sae_cli.datasets import DATASETS, Dataset, Split
from sae_cli.datasets.classes import without_other_labels
from sae_cli.results.loaded_data import read_own, split_of
from sae_cli.results.run import Run
from sae_cli.training.heads import HEADS
from sae_cli.training.loop import EVALUATION_BATCH

# The model has a centre and a scale of its own, those of the data that it was trained on.
OF_MODEL: dict[str, Any] = {"centre": False, "scale": "none"}


@dataclass(frozen=True)
class Subject:
    """A loaded run and the data that it is evaluated on.

    Attributes:
        split: the name of the split that is measured.
        notes: what is doubtful about the data.
    """

    run: Run
    data: Dataset
    split: str
    notes: list[str]

    @property
    def examples(self) -> Split:
        """The examples that are measured."""
        return split_of(self.data, self.split)

    def batches(self, split: Split, size: int = EVALUATION_BATCH) -> Iterator[Tensor]:
        """Yield what the model sees of a split, ``(batch, *input_shape)``, on its device."""
        for values in split.batches(size):
            yield values.reshape(len(values), *self.run.input_shape).to(self.run.device)

    @torch.inference_mode()
    def codes(self, split: Split) -> Tensor:
        """Give the codes of a split, ``(n, n_latents)`` on the CPU."""
        return torch.cat([self.run.autoencoder.encode(seen).cpu() for seen in self.batches(split)])


def _fits(shape: tuple[int, ...], trained: tuple[int, ...]) -> bool:
    """Tell whether examples are of a shape that was trained on, or flat; axes of 1 do not count."""
    long, of_model = ([n for n in one if n > 1] for one in (shape, trained))
    return math.prod(shape) == math.prod(trained) and (
        long == of_model or 1 in (len(long), len(of_model))
    )


def on_own_data(run: Run, split: str) -> Subject:
    """Evaluate a run on the data that it was trained on.

    Raises:
        ConfigError: it is a dictionary; or the data are missing or unfit.
    """
    if run.is_dictionary:
        raise ConfigError(
            f"{short(run.path)} is a dictionary, which does not say what it was trained on; give "
            "dataset=array dataset.path=FILE"
        )
    data, notes = read_own(run.path, run.config)
    return Subject(run, data, split, notes)


def on_other_data(run: Run, section: Mapping[str, Any], split: str) -> Subject:
    """Evaluate a run on other data, which are centred and scaled as its own were.

    Examples of classes that its classifier did not learn have no label, as in its own data. A
    dictionary takes values as the data file has them; only a divisor that is an option divides.

    Args:
        section: of the data set, checked.

    Raises:
        ConfigError: the data are missing, unfit, or of another shape.
    """
    of_model = {key: value for key, value in OF_MODEL.items() if key in section}
    data = DATASETS.build({**section, **of_model})
    inputs, record = data.train.inputs, run.record.inputs
    shape = data.shape.input_shape
    if data.rows_in_doubt:
        raise ConfigError(data.rows_in_doubt)
    if not _fits(shape, run.input_shape):
        raise ConfigError(
            f"dataset={section['name']} has examples {shape}, and {short(run.path)} was trained on "
            f"{run.input_shape}; give data of that shape, perhaps with dataset.axes=channels_last"
        )
    inputs = replace(
        inputs,
        divisor=section.get("divisor", 1.0) if run.is_dictionary else inputs.divisor,
        unit_norm=record.unit_norm,
        centre=None if record.centre is None else record.centre.reshape(shape),
        scale=record.scale,
    )
    return Subject(run, _with_own_classes(run, data.with_inputs(inputs)), split, [])


def _with_own_classes(run: Run, data: Dataset) -> Dataset:
    """Leave out the labels of classes that the run's classifier did not learn."""
    head = None if run.is_dictionary else HEADS.build(run.config.parts["head"])
    if head is None or head.classes is None:
        return data
    return without_other_labels(data, head.classes)
