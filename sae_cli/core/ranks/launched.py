"""Whether ``torchrun`` has started this process, as one of several."""

from __future__ import annotations

import os
from dataclasses import dataclass

# Clusters set RANK and WORLD_SIZE for any command; this variable is torchrun's own.
TORCHRUN = "TORCHELASTIC_RUN_ID"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of one run.

    Attributes:
        rank: its number; that of the process that writes the folder is 0.
        size: how many there are, on all machines.
        local_rank, local_size: the same, on this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def read_launch() -> Launch | None:
    """Read the place of this process from the environment variables; None where it is alone."""
    if TORCHRUN not in os.environ:
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    launch = Launch(*(int(os.environ[name]) for name in names))
    return launch if launch.size > 1 else None
