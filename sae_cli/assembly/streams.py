"""The random streams of a run: one for each purpose, all from the run's seed."""

from __future__ import annotations

import numpy as np
from torch import Generator

from sae_cli.config.schema import RunConfig
from sae_cli.training.devices import Device
from sae_cli.training.loop import Generators


def generators(config: RunConfig, device: Device) -> Generators:
    """The random streams of training, of the run's seed."""
    _, order, noise, _, _ = _streams(config.settings.seed)
    on_device = Generator(device.torch).manual_seed(noise.initial_seed())
    return Generators(order, on_device)


def labels_generator(config: RunConfig) -> Generator:
    """Draws which examples keep their labels."""
    return _streams(config.settings.seed)[3]


def _streams(seed: int) -> list[Generator]:
    """Independent random streams of one seed, so that using one does not shift another: for initial
    weights, the order of examples, noise, which labels are kept, and the head's weights."""
    children = np.random.SeedSequence(seed).spawn(5)
    # On the CPU even where tensors are made elsewhere by default.
    return [Generator("cpu").manual_seed(int(c.generate_state(1, np.uint64)[0])) for c in children]
