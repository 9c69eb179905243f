"""The random streams of a run: one for each purpose, all from the run's seed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator

from sae_cli.training.loop import Generators


class Streams(NamedTuple):
    """Independent generators on the CPU, so that drawing from one does not shift another.

    Attributes:
        weights: initial weights of the auto-encoder.
        order: the order of examples.
        noise: corruption and sampling; only its seed is used, because noise is drawn on the device.
        labels: which examples keep their labels.
        head: initial weights of the classifier.
    """

    weights: Generator
    order: Generator
    noise: Generator
    labels: Generator
    head: Generator


def streams_of(seed: int) -> Streams:
    """Make the streams of a seed."""
    children = np.random.SeedSequence(seed).spawn(len(Streams._fields))
    # The default device may be another one, such as the meta device.
    return Streams(
        *(Generator("cpu").manual_seed(int(c.generate_state(1, np.uint64)[0])) for c in children)
    )


def generators(seed: int, device: torch.device) -> Generators:
    """Make the generators that a training draws from, at their beginning."""
    streams = streams_of(seed)
    return Generators(streams.order, Generator(device).manual_seed(streams.noise.initial_seed()))
