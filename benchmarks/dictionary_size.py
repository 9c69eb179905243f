"""What a step of ``dictionary_steps.py`` trains, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

LEARNING_RATE = 3e-4

Step = Callable[[Tensor], Any]


class Size(NamedTuple):
    """Sizes of the data and of the network, and the device."""

    device: str
    precision: str
    rows: int
    features: int
    latents: int
    batch: int
    k: int

    def autocast(self) -> torch.autocast:
        """The context of a pass, which does something only in bfloat16."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")
