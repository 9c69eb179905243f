"""All that a run needs, built and checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sae_cli.assembly import compute
from sae_cli.assembly.data import check_data, located, read_dataset
from sae_cli.assembly.environment import environment
from sae_cli.assembly.parts import Parts, build_parts
from sae_cli.assembly.stages import Training, build_training, lr_schedule
from sae_cli.config.schema import RunConfig
from sae_cli.datasets import Dataset


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, before anything is written.

    Attributes:
        config: with what it left open decided.
        about: what the run depends on besides.
    """

    config: RunConfig
    parts: Parts
    training: Training
    about: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        return str(self.about["dataset"]["fingerprint"])


def prepared(config: RunConfig, *, download: bool = True) -> Prepared:
    """Build the parts, read the data, and decide how to compute.

    Args:
        download: whether data that are missing may be downloaded where the configuration says so.

    Raises:
        ConfigError: the parts do not go together, or the data are missing or unfit.
    """
    parts = build_parts(config)
    data = read_dataset(config, download=download)
    check_data(config, parts, data)
    training = build_training(config, parts, data)
    for stage in training.stages:
        lr_schedule(config, stage, len(stage.examples(training.dataset.train)))
    config = compute.settled(located(config), parts, training)
    compute.prepare(config)
    about = environment() | {"dataset": _about(data), "device": str(parts.device.torch)}
    return Prepared(config, parts, training, about)


def _about(data: Dataset) -> dict[str, Any]:
    """What the run folder says of the data."""
    return {
        "source": data.source,
        "fingerprint": data.fingerprint(),
        "input_shape": list(data.shape.input_shape),
        "n_classes": data.n_classes,
        "train": len(data.train),
        "val": len(data.val),
        "test": len(data.test),
    }
